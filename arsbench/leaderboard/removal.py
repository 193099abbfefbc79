"""A removal of the open challenge: ``REMOVAL/removal.json`` with its rows and its file, and what it does to entries.

    REMOVAL/removal.json      this schema; also as JSON Schema in ``removal.schema.json``
    REMOVAL/rows.parquet      one row per entry, manipulator and image, the columns of :mod:`arsbench.rows`; the entry's
                              name stands as protector, the removal's as perturbation
    REMOVAL/code/             the removal's file, where it is not one of the package
    REMOVAL/verification.json what was verified, and when

What a removal does is taken from its rows, whose hash the document holds; nothing else that it says is believed.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from arsbench.cards import file_sha256
from arsbench.contracts import ArsbenchError
from arsbench.leaderboard.aggregates import WORST, at_level, worst_case
from arsbench.leaderboard.entry import (
    DIALECT,
    ROWS,
    Authored,
    Entry,
    Method,
    Name,
    Sha256,
    read_json,
    read_verifications,
)
from arsbench.scoring import statistics

REMOVAL = "removal.json"
PROTOCOL = "the protocol"
"""Whose the board's own perturbations are."""
REMOVALS = Path("results/removals")
"""Where removals lie in the repository."""
_READ = ["protector", "manipulator", "perturbation", "level", "image", "epsilon", "trained_on", "sr_strict"]


class Removal(Authored):
    """Who took which protections off, and with what."""

    method: Method
    """The perturbation class; ``arsbench:NAME`` for one of the package."""
    track: Literal["open", "paper"]
    protocol_hash: Sha256
    entries: dict[Name, Sha256]
    """The entries that it was tried on -> SHA-256 of the rows that they had."""
    rows_sha256: Sha256
    """Of ``rows.parquet``."""
    submitted: datetime.date


_REMOVAL = TypeAdapter(Removal)


def schema() -> dict[str, Any]:
    """The JSON Schema of ``removal.json``."""
    return {"$schema": DIALECT, **Removal.model_json_schema(mode="serialization")}


@dataclass(frozen=True)
class KnownAttack:
    """What leaves least of an entry: a removal, or one of the board's perturbations at the level that ranks.

    Attributes:
        removal: its name.
        authors: whose it is; :data:`PROTOCOL` of a perturbation.
        score: mean sr_strict under it over manipulators and images, with its interval.
        worst: mean over images and manipulators of the least sr_strict over the perturbations and every removal that
            was tried, with its interval.
    """

    removal: str
    authors: tuple[str, ...]
    score: list[float | None]
    worst: list[float | None]


def removals_in(folder: Path) -> list[Path]:
    """The folders of removals in a folder, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{REMOVAL}"))


def read_removal(folder: Path) -> Removal:
    """Reads ``folder/removal.json``.

    Raises:
        ArsbenchError: it is missing, too large, or not of the schema; or its rows are not those that it names.
    """
    removal = read_json(folder / REMOVAL, _REMOVAL)
    path = folder / ROWS
    if path.is_symlink() or not path.is_file() or file_sha256(path) != removal.rows_sha256:
        raise ArsbenchError(f"{path} is not the file that {REMOVAL} names; make the removal's folder again")
    return removal


def write_removal(folder: Path, removal: Removal) -> None:
    """Writes ``folder/removal.json``."""
    (folder / REMOVAL).write_bytes(_REMOVAL.dump_json(removal, indent=1) + b"\n")


def known_attacks(folders: Sequence[Path], entries: Mapping[Path, Entry]) -> dict[str, KnownAttack]:
    """Entry -> what leaves least of it, where removals were tried on the rows that the entry has now.

    A removal whose last verification failed does not count.

    Args:
        folders: of removals.
        entries: folder of an entry -> the entry.

    Raises:
        ArsbenchError: a removal or an entry's rows cannot be read.
    """
    removals = [(read_removal(folder), _rows(folder / ROWS)) for folder in folders if _holds(folder)]
    found = {}
    for folder, entry in entries.items():
        tried = [
            (removal, rows[rows["protector"] == entry.name])
            for removal, rows in removals
            if removal.entries.get(entry.name) == entry.rows_sha256 and removal.protocol_hash == entry.protocol_hash
        ]
        if tried:
            found[entry.name] = _least(tried, at_level(_rows(folder / ROWS)).assign(protector=entry.name))
    return found


def scores_under(folder: Path) -> dict[str, list[float | None]]:
    """Entry -> mean sr_strict under the removal in ``folder``, with its interval.

    Raises:
        ArsbenchError: it cannot be read.
    """
    names, rows = read_removal(folder).entries, _rows(folder / ROWS)
    return {name: interval(rows[rows["protector"] == name], "sr_strict") for name in names}


def _holds(folder: Path) -> bool:
    verifications = read_verifications(folder)
    return not verifications or verifications[-1].passed


def _least(tried: Sequence[tuple[Removal, pd.DataFrame]], own: pd.DataFrame) -> KnownAttack:
    attacks = [(removal.name, tuple(removal.authors), rows) for removal, rows in tried]
    attacks += [(str(name), (PROTOCOL,), rows) for name, rows in own.groupby("perturbation")]
    scores = [interval(rows, "sr_strict") for _, _, rows in attacks]
    # Of equals the first: a removal before the board's own perturbations.
    score, (name, authors, _) = min(
        zip(scores, attacks, strict=True), key=lambda one: math.inf if one[0][0] is None else one[0][0]
    )
    together = worst_case(pd.concat([own, *(rows for _, rows in tried)], ignore_index=True))
    return KnownAttack(name, authors, score, interval(together, WORST))


def interval(rows: pd.DataFrame, metric: str) -> list[float | None]:
    """Mean of one protector's rows, and its 95 % bootstrap interval over images."""
    line = statistics.averages(rows, ("protector",), [metric]).iloc[0]
    return [float(value) if math.isfinite(value := line[f"{metric}{end}"]) else None for end in ("", "_low", "_high")]


def _rows(path: Path) -> pd.DataFrame:
    try:
        rows: pd.DataFrame = pq.read_table(path, columns=_READ, partitioning=None).to_pandas()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArsbenchError(f"{path} cannot be read as rows; make its folder again") from error
    return rows
