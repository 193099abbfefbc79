"""Entries as the pages show them: their own numbers, and the tier that :mod:`arsbench.leaderboard.ranks` gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from arsbench.contracts import ArsbenchError
from arsbench.leaderboard import ranks, table
from arsbench.leaderboard.aggregates import LEVEL
from arsbench.leaderboard.entry import ALL, ENTRY, ROWS, Entry, Verification, read_entry, read_verifications
from arsbench.protocol import protocol
from arsbench.reports.pages import Board, web_link
from arsbench.reports.standing import METRICS, UNDER_ATTACK, WORST_KNOWN, Fact, Mark, Standing, Verified
from arsbench.reports.table import Value
from arsbench.scoring import statistics

BUILT_IN = "arsbench:"
"""Before the name of a method of the package, in ``method.class``."""
_READ = ["manipulator", "perturbation", "level", "image", "epsilon", "sr_strict"]
WORDS = {
    "T": "board-trained",
    "B": "below control",
    "N": "few images",
    "X": "failed",
    "P": "other protocol",
    "W": "withdrawn",
}
"""What stands on the page for a mark of the board. Findings stand by name, and whether it was verified in a column."""


@dataclass(frozen=True)
class Submitted:
    """An entry, read: its folder, its documents, and of its rows what curves are made of."""

    folder: Path
    entry: Entry
    verifications: tuple[Verification, ...]
    rows: pd.DataFrame

    @property
    def built_in(self) -> str:
        """The name of the package's method that it is; empty for any other."""
        of = self.entry.method
        return of.class_.removeprefix(BUILT_IN) if of.kind == "code" and of.class_.startswith(BUILT_IN) else ""

    @property
    def board(self) -> tuple[str, str, float]:
        """What entries must have in common to stand on one board: track, protocol and budget."""
        return self.entry.track, self.entry.protocol_hash, self.entry.epsilon


@dataclass(frozen=True)
class Section:
    """A board with its entries, and the board as text: file suffix -> LaTeX or CSV, as ``leaderboard show`` has it."""

    board: Board
    members: tuple[Submitted, ...]
    texts: dict[str, str]


def read_entries(folder: Path) -> list[Submitted]:
    """Every entry in the folders of ``folder``, by name.

    Raises:
        ArsbenchError: there is none, or one of them cannot be read; the sentence names it.
    """
    if not folder.is_dir():
        raise ArsbenchError(f"there is no folder {folder}; give the folder that holds the entries")
    found = [_read(path) for path in ranks.entries_in(folder)]
    if not found:
        raise ArsbenchError(f"there are no entries in {folder}; arsbench submit makes one")
    names: dict[str, Path] = {}
    for submitted in found:
        # Their pages must not overwrite each other on a disk that does not tell capitals apart.
        same = names.setdefault(submitted.entry.name.lower(), submitted.folder)
        if same != submitted.folder:
            raise ArsbenchError(f"two entries are called '{submitted.entry.name}': {same} and {submitted.folder}")
    return found


def _read(folder: Path) -> Submitted:
    entry = read_entry(folder)
    if not entry.by_cell:
        raise ArsbenchError(f"{folder / ENTRY} has no cells; see: arsbench leaderboard verify")
    return Submitted(folder, entry, tuple(read_verifications(folder)), _rows(folder / ROWS, entry))


def _rows(path: Path, entry: Entry) -> pd.DataFrame:
    """The columns of :data:`_READ`, with the entry's name as protector.

    Raises:
        ArsbenchError: the file is not there, is no parquet file of rows, or has another number of rows than cells.
    """
    wanted = entry.images * len(entry.by_cell)
    try:
        with pq.ParquetFile(path) as file:
            # Looked at before anything is unpacked.
            if file.metadata.num_rows != wanted:
                raise ArsbenchError(
                    f"{path} has {file.metadata.num_rows} rows where its entry has {wanted}; "
                    "see: arsbench leaderboard verify"
                )
            rows: pd.DataFrame = file.read(columns=_READ).to_pandas(deduplicate_objects=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArsbenchError(f"{path} cannot be read ({error}); see: arsbench leaderboard verify") from error
    missing = [name for name in _READ if name not in rows]
    if missing:
        raise ArsbenchError(f"{path} has no column '{missing[0]}'; see: arsbench leaderboard verify")
    return rows.assign(protector=entry.name, trained_on="")


# --- boards ---------------------------------------------------------------------------------------------------------


def boards_of(entries: Sequence[Submitted], removals: Sequence[Path] = ()) -> list[Section]:
    """The entries in boards of those that may be compared: this version's protocol first, then the largest."""
    groups: dict[tuple[str, str, float], list[Submitted]] = {}
    for submitted in entries:
        groups.setdefault(submitted.board, []).append(submitted)
    current = {track: protocol(track).hash for track, _, _ in groups}
    by_size = sorted(groups, key=lambda key: (current[key[0]] != key[1], -len(groups[key]), key))
    return [
        _section(number, groups[key], current[key[0]] != key[1], removals)
        for number, key in enumerate(by_size, start=1)
    ]


def _section(number: int, members: Sequence[Submitted], other: bool, removals: Sequence[Path]) -> Section:
    track, protocol_hash, epsilon = members[0].board
    standings = ranks.board([submitted.folder for submitted in members], track, removals)
    by_folder = {submitted.folder: submitted for submitted in members}
    ordered = tuple(by_folder[one.folder] for one in standings)
    counts = sorted({submitted.entry.images for submitted in members})
    images = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    title = f"Track {track}, epsilon {epsilon:g}, {images} image{'s' if counts[-1] != 1 else ''}"
    board = Board(
        name=re.sub(r"[^a-z0-9]+", "-", f"{track}-{epsilon:g}-{number}".lower()),
        title=f"{title}, protocol {protocol_hash[:8]}: not ranked" if other else title,
        standings=tuple(_standing(by_folder[one.folder], one) for one in standings),
        notes=(
            f"Means over images, manipulators and perturbations at level {LEVEL}; amplification is the median. "
            "The small range is the 95 % bootstrap interval over images.",
            "Entries that a paired bootstrap over the same images cannot tell apart, all pairs judged together at "
            f"{100 * ranks.CONFIDENCE:.0f} %, share a tier.",
            "The small curve is sr_strict over the levels; dashed and dotted are the controls brighten and shade, "
            "which stand across the board, too.",
            f"Protocol {protocol_hash}.",
        ),
        place="tier",
    )
    texts = {suffix: table.render(standings, name, METRICS) for suffix, name in (("tex", "latex"), ("csv", "csv"))}
    return Section(board, ordered, texts)


# --- one entry ------------------------------------------------------------------------------------------------------


def _standing(submitted: Submitted, one: ranks.Standing) -> Standing:
    entry = submitted.entry
    cells = pd.DataFrame([cell.model_dump() for cell in entry.by_cell])
    numbers = [metric for metric in METRICS if metric in cells]
    cells[numbers] = cells[numbers].astype(float)
    levels = statistics.averages(submitted.rows, ("level",), ["sr_strict"])
    return Standing(
        name=entry.name,
        page=entry.name,
        control=one.control,
        rank=one.tier,
        overall=_values(entry, ALL) | _attacked(one),
        by_manipulator={name: _values(entry, name) for name in entry.aggregates if name != ALL},
        cells=cells,
        bands={
            int(line["level"]): Value(line["sr_strict"], line["sr_strict_low"], line["sr_strict_high"])
            for line in levels.to_dict("records")
        },
        kind="control" if one.control else entry.method.kind,
        marks=_marks(one),
        facts=_facts(submitted, one),
        verified=tuple(_verified(v) for v in reversed(submitted.verifications)),
        withdrawn=entry.withdrawn is not None,
    )


def _values(entry: Entry, name: str) -> dict[str, Value]:
    found = entry.aggregates.get(name, {})
    return {metric: _value(interval) for metric, interval in found.items()}


def _value(interval: Sequence[float | None]) -> Value:
    return Value(*(math.nan if end is None else end for end in interval))


def _verified(verification: Verification) -> Verified:
    failed = [
        f"{check.name}: expected {check.expected}, got {check.got}" for check in verification.checks if not check.passed
    ]
    # The cells that were computed again are named in the sentence before.
    held = [check.name for check in verification.checks if check.passed and not check.name.startswith("replay ")]
    checks = (*failed, *([f"held: {', '.join(held)}"] if held else []))
    said = f"arsbench {verification.version}"
    if verification.cells:
        drawn = "" if verification.seed is None else f" drawn by the seed {verification.seed}"
        said = f"{len(verification.cells)} cells{drawn} computed again by {said}: {', '.join(verification.cells)}"
    return Verified(verification.tier, verification.date.isoformat(), checks, verification.passed, said)


def _marks(one: ranks.Standing) -> tuple[Mark, ...]:
    """The board's marks in words; a finding of ``arsbench check`` by its name."""
    entry = one.entry
    more = {"T": ", ".join(entry.trained_on)}
    if entry.withdrawn is not None:
        more["W"] = f"{entry.withdrawn.date.isoformat()}, {entry.withdrawn.reason.strip().rstrip('.')}"
    marks = [
        Mark(WORDS[letter], f"{ranks.MARKS[letter]} ({more[letter]})" if letter in more else ranks.MARKS[letter])
        for letter in one.marks
        if letter in WORDS and not (one.control and letter == "N")
    ]
    # What check finds about a control is what the control is there to show.
    found = [] if one.control else [Mark(flag.name, flag.what.strip().rstrip(".")) for flag in entry.flags]
    return (*marks, *found)


def _attacked(one: ranks.Standing) -> dict[str, Value]:
    if one.attack is None:
        return {}
    return {name: _value(one.number(name)) for name in (UNDER_ATTACK, WORST_KNOWN)}


def _facts(submitted: Submitted, one: ranks.Standing) -> tuple[Fact, ...]:
    entry = submitted.entry
    kind = {"code": "code, which can be run again", "pictures": "pictures alone, made elsewhere"}[entry.method.kind]
    facts = [
        Fact("authors", ", ".join(entry.authors)),
        Fact("paper", entry.paper or "none", web_link(entry.paper)),
        Fact("code", entry.code or "not public", web_link(entry.code)),
        Fact("licence", entry.licence or "none said"),
        Fact("method", f"{kind}{f' ({entry.method.class_})' if entry.method.class_ else ''}"),
        Fact("trained on", ", ".join(entry.trained_on) or "none of the board's perturbations"),
        Fact("best known attack", table.attacker(one)),
        Fact("cost", _cost(entry)),
        Fact("submitted", entry.submitted.isoformat()),
        Fact("seed", str(entry.seed)),
        Fact("protocol", entry.protocol_hash),
        Fact("revision of arsbench", entry.revision or "not from a checkout"),
        Fact("versions", ", ".join(f"{name} {version}" for name, version in entry.versions.items() if version)),
    ]
    facts += [Fact(f"SHA-256 of {name}", digest) for name, digest in entry.weights_sha256.items()]
    return tuple(facts)


def _cost(entry: Entry) -> str:
    seconds = entry.cost.seconds_per_image
    if seconds is None:
        return "not known: the pictures were made elsewhere"
    return f"{seconds:.3g} s per image on {entry.cost.hardware or 'a machine that is not named'}"
