"""Ranks that hold together: entries that cannot be told apart share a tier.

Entries are compared by their mean sr_strict at level 5, over the images that both have, by a paired bootstrap over
images. With many entries some pair always looks different by chance. The pairs are therefore judged together (max-T:
Romano and Wolf 2005): with 99 % confidence no pair at all is told apart that is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from arsbench.contracts import ArsbenchError
from arsbench.draws import draw
from arsbench.leaderboard.aggregates import LEVEL, WORST
from arsbench.leaderboard.entry import ALL, ENTRY, ROWS, Entry, Verification, read_entry, read_verifications
from arsbench.leaderboard.removal import KnownAttack, known_attacks
from arsbench.protocol import protocol
from arsbench.reports.standing import UNDER_ATTACK, WORST_KNOWN
from arsbench.scoring.controls import CONTROLS

CONFIDENCE = 0.99
"""That all pairs which are told apart differ."""
RESAMPLES = 2000
RANKED_FROM = 100
"""Images that an entry needs for a rank."""
TO_BEAT = ("brighten", "shade")
"""Controls that stand as lines across the board."""

Array = npt.NDArray[np.float64]


# --- tiers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tiers:
    """Who is better than whom.

    Attributes:
        tier: from 1; one more than the number of those that are shown to be better.
        better: pairs (better, worse) that are told apart.
    """

    tier: Mapping[str, int]
    better: frozenset[tuple[str, str]]


def tiers(scores: Mapping[str, pd.Series[float]], among: Sequence[str] | None = None) -> Tiers:
    """The tier of each method, and which pairs are told apart.

    Args:
        scores: name -> a score per image, indexed by image; higher is better.
        among: who counts for the tiers; the others are only compared. All if left out.
    """
    pairs: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for a, b in combinations(sorted(scores), 2):
        shared = tuple(sorted(set(scores[a].index) & set(scores[b].index)))
        pairs.setdefault(shared, []).append((a, b))
    largest = np.zeros(RESAMPLES)
    differences: dict[tuple[str, str], tuple[float, float]] = {}
    for images, members in pairs.items():
        if len(images) > 1:
            _compare(images, members, scores, differences, largest)
    critical = float(np.quantile(largest, CONFIDENCE))
    better = set()
    for (a, b), (difference, error) in differences.items():
        if abs(difference) > critical * error:
            better.add((a, b) if difference > 0 else (b, a))
    names = list(scores) if among is None else list(among)
    counted = {name: 1 + sum((other, name) in better for other in names) for name in names}
    return Tiers(counted, frozenset(better))


def _compare(
    images: tuple[str, ...],
    pairs: Sequence[tuple[str, str]],
    scores: Mapping[str, pd.Series[float]],
    differences: dict[tuple[str, str], tuple[float, float]],
    largest: Array,
) -> None:
    """Adds difference and standard error of each pair, and to ``largest`` how far chance carries any of them."""
    names = sorted({name for pair in pairs for name in pair})
    values = np.stack([scores[name].reindex(list(images)).to_numpy(dtype=np.float64) for name in names], axis=1)
    n = len(images)
    drawn = np.random.default_rng(draw("\0".join(images), "tiers")).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    means = values.mean(axis=0)
    noise = drawn @ values / n - means
    place = {name: i for i, name in enumerate(names)}
    for a, b in pairs:
        i, j = place[a], place[b]
        deviation = noise[:, i] - noise[:, j]
        # What is left of rounding where two methods differ by the same in every image.
        error = float(deviation.std())
        error = error if error > 1e-12 else 0.0
        differences[a, b] = (float(means[i] - means[j]), error)
        if error:
            np.maximum(largest, np.abs(deviation) / error, out=largest)


# --- the board ------------------------------------------------------------------------------------------------------

MARKS = {
    "T": "trained on the board's own perturbations",
    "F": "arsbench check has findings, named in the entry",
    "B": "does not beat both brighten and shade",
    "N": f"fewer than {RANKED_FROM} images: not ranked",
    "U": "not verified yet",
    "X": "the last verification failed: not ranked",
    "P": "of another protocol: not ranked",
    "W": "withdrawn: not ranked",
}
"""The marks of the board, and what each says."""
_UNRANKED = set("NXPW")


@dataclass(frozen=True)
class Standing:
    """One line of the board.

    Attributes:
        entry: what was submitted.
        tier: ``None`` where it is not ranked.
        control: whether it is a control of the protocol, a line across the board.
        marks: letters of :data:`MARKS`.
        verified: the last verification that it passed, or ``None``.
        folder: where it lies.
        attack: what leaves least of it, of the removals that are known and the perturbations.
    """

    entry: Entry
    tier: int | None
    control: bool
    marks: str
    verified: Verification | None
    folder: Path
    attack: KnownAttack | None = None

    def number(self, metric: str) -> list[float | None]:
        """Mean, low and high over all manipulators; ``None`` where there is none."""
        if metric in (UNDER_ATTACK, WORST_KNOWN):
            known = self.attack
            return [None] * 3 if known is None else known.score if metric == UNDER_ATTACK else known.worst
        return self.entry.aggregates.get(ALL, {}).get(metric, [None, None, None])


def entries_in(folder: Path) -> list[Path]:
    """The folders of entries in a folder, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{ENTRY}"))


def scores_of(folder: Path) -> pd.Series[float]:
    """The mean sr_strict of each image at level 5 over manipulators and perturbations.

    Raises:
        ArsbenchError: the rows cannot be read.
    """
    try:
        table = pq.read_table(
            folder / ROWS, columns=["image", "sr_strict"], filters=[("level", "==", LEVEL)], partitioning=None
        )
    except (OSError, ValueError) as error:
        raise ArsbenchError(f"{folder / ROWS} cannot be read; verify the entry") from error
    scores: pd.Series[float] = table.to_pandas().groupby("image")["sr_strict"].mean()
    return scores


def board(folders: Sequence[Path], track: str = "open", removals: Sequence[Path] = ()) -> list[Standing]:
    """The board: ranked entries by tier and sr_strict, then those without a rank, then the controls.

    Args:
        folders: of entries.
        track: whose.
        removals: folders of removals; no rank depends on them.

    Raises:
        ArsbenchError: an entry or a removal cannot be read, or two have the same name.
    """
    entries = {folder: entry for folder in folders if (entry := read_entry(folder)).track == track}
    names = [entry.name for entry in entries.values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArsbenchError(f"two entries are called '{twice}'; rename one")
    hash_ = protocol(track).hash
    made = []
    for folder, entry in entries.items():
        verifications = read_verifications(folder)
        passed = [one for one in verifications if one.passed]
        marks = [
            ("T", entry.trained_on),
            ("F", entry.flags),
            ("N", entry.images < RANKED_FROM),
            ("U", not verifications),
            ("X", verifications and not verifications[-1].passed),
            ("P", entry.protocol_hash != hash_),
            ("W", entry.withdrawn),
        ]
        control = entry.method.kind == "code" and entry.method.class_ in {f"arsbench:{name}" for name in CONTROLS}
        letters = "".join(letter for letter, holds in marks if holds)
        made.append(Standing(entry, None, control, letters, passed[-1] if passed else None, folder))
    ranked = [one for one in made if not one.control and not _UNRANKED & set(one.marks)]
    lines = {
        control: one.entry.name
        for one in made
        for control in TO_BEAT
        if one.entry.method.class_ == f"arsbench:{control}" and not _UNRANKED & set(one.marks.replace("N", ""))
    }
    compared = {one.entry.name: one for one in made if one in ranked or one.entry.name in lines.values()}
    found = tiers({name: scores_of(one.folder) for name, one in compared.items()}, [one.entry.name for one in ranked])
    attacks = known_attacks(removals, entries)
    standing = []
    for one in made:
        name = one.entry.name
        marks_ = one.marks
        if name in found.tier and not all((name, line) in found.better for line in lines.values()):
            marks_ += "B"
        known = attacks.get(name)
        standing.append(Standing(one.entry, found.tier.get(name), one.control, marks_, one.verified, one.folder, known))
    return sorted(standing, key=_order)


def _order(one: Standing) -> tuple[bool, bool, int, float, str]:
    mean = one.number("sr_strict")[0]
    return one.control, one.tier is None, one.tier or 0, -(mean if mean is not None else -1.0), one.entry.name


COLUMNS = ("sr_strict", WORST, "sr", "sr_mask", "seconds")
"""The metrics of the board, unless others are asked for."""
