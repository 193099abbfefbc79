"""Verifies a removal in the tiers of an entry: its files, some of its rows computed again, all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arsbench.leaderboard import offline
from arsbench.leaderboard.aggregates import LEVEL
from arsbench.leaderboard.attack import rows_under
from arsbench.leaderboard.entry import Check, Entry, Verification, read_entry
from arsbench.leaderboard.files import files_of, method_of
from arsbench.leaderboard.offline import Found, check
from arsbench.leaderboard.removal import REMOVAL, Removal, read_removal
from arsbench.leaderboard.verify import CELLS, drawn_images, drawn_seed, same, verification, whole_grid
from arsbench.protocol import protocol
from arsbench.running.progress import NoProgress

Part = tuple[Entry, str]
"""An entry, and a manipulator that it was tried against."""


def verify_removal(
    folder: Path,
    entries: Sequence[Path],
    tier: int = 1,
    seed: int | None = None,
    cells: int = CELLS,
    progress: NoProgress | None = None,
) -> Verification:
    """Verifies a removal.

    Args:
        folder: of the removal.
        entries: folders of entries, those that it was tried on among them.
        tier: 0, 1 or 2; each includes those below it.
        seed: that tier 1 draws entries, manipulators and images by; ``None`` draws one now.
        cells: how many pairs of entry and manipulator tier 1 computes again.
        progress: what is shown meanwhile.

    Returns:
        One check after the other, up to the first that the later ones rest on and that failed.
    """
    drawn = drawn_seed(tier, seed)
    checks: list[Check] = []
    replayed: list[str] = []
    there = {entry.name: (path, entry) for path in entries for entry in [read_entry(path)]}
    found = _readable(folder, checks)
    if found is not None and _tier_0(folder, found, there, checks) and tier > 0:
        rows = offline.read_checked_rows(folder, _count(_tried(found, there)))
        replayed = _replay(folder, found, rows, there, (drawn, cells), checks, progress)
    return verification(tier, drawn, replayed, checks)


def _readable(folder: Path, checks: list[Check]) -> Removal | None:
    found: list[Removal] = []

    def schema() -> Found:
        files_of(folder, REMOVAL)
        found.append(read_removal(folder))
        return Found("format 1", f"format {found[0].format}")

    checks.append(check("schema", schema))
    return found[0] if found else None


def _tried(removal: Removal, there: Mapping[str, tuple[Path, Entry]]) -> list[Entry]:
    return [there[name][1] for name in removal.entries if name in there]


def _count(entries: Sequence[Entry]) -> int:
    """How many rows a removal has that was tried on them."""
    return sum(entry.images * len(whole_grid(entry.track, entry.images).plan.manipulators) for entry in entries)


def _tier_0(folder: Path, removal: Removal, there: Mapping[str, tuple[Path, Entry]], checks: list[Check]) -> bool:
    """Whether the files agree with each other, with the protocol and with the entries."""
    wanted = f"protocol {protocol(removal.track).hash[:16]}"
    checks += [
        check("hashes", lambda: offline.hashes(folder, removal.method, removal.rows_sha256, REMOVAL)),
        check("protocol", lambda: Found(wanted, f"protocol {removal.protocol_hash[:16]}")),
        check("entries", lambda: _same_entries(removal, there)),
    ]
    if not all(one.passed for one in checks):
        return False

    def rows() -> Found:
        tried = _tried(removal, there)
        read = offline.read_checked_rows(folder, _count(tried))
        for entry in tried:
            own = read[read["protector"] == entry.name]
            for found in (_complete(own, removal, entry), offline.consistent(own, entry)):
                if found.expected != found.got:
                    return found
        return Found(f"rows of {len(tried)} entries", f"rows of {len(set(read['protector']))} entries")

    checks.append(check("rows", rows))
    return checks[-1].passed


def _same_entries(removal: Removal, there: Mapping[str, tuple[Path, Entry]]) -> Found:
    """Each entry is there, of the removal's track, with the rows that it had."""
    for name, digest in removal.entries.items():
        if name not in there:
            return Found(f"an entry {name}", "none")
        entry = there[name][1]
        if (entry.track, entry.rows_sha256) != (removal.track, digest):
            wanted = f"{name} on track {removal.track} with rows {digest[:16]}"
            return Found(wanted, f"on track {entry.track} with rows {entry.rows_sha256[:16]}")
    said = f"{len(removal.entries)} entries"
    return Found(said if removal.entries else "an entry", said)


def _complete(rows: pd.DataFrame, removal: Removal, entry: Entry) -> Found:
    """Every manipulator with every image once, of the entry's budget, under the removal at its strongest."""
    plan = whole_grid(entry.track, entry.images).plan
    wanted = {(model, removal.name, LEVEL, image.key) for model in plan.manipulators for image in plan.images}
    got = list(rows[["manipulator", "perturbation", "level", "image"]].itertuples(index=False, name=None))
    for row in sorted(wanted ^ set(got)):
        said = " / ".join(map(str, (entry.name, *row)))
        return Found(f"{'a' if row in wanted else 'no'} row {said}", f"{'none' if row in wanted else 'one'}")
    budgets = set(rows["epsilon"].fillna(entry.epsilon)) | {entry.epsilon}
    if len(got) != len(wanted) or len(budgets) > 1 or (rows["trained_on"] != "").any() or (rows["weights"] != "").any():
        return Found(f"each row of {entry.name} once, as the entry's", "other rows")
    return Found("rows", "rows")


def _replay(
    folder: Path,
    removal: Removal,
    rows: pd.DataFrame,
    there: Mapping[str, tuple[Path, Entry]],
    drawn: tuple[int | None, int],
    checks: list[Check],
    progress: NoProgress | None,
) -> list[str]:
    """Takes protected pictures through the removal again and compares; which they were."""
    seed, count = drawn
    parts: list[Part] = [
        (entry, model)
        for entry in _tried(removal, there)
        for model in whole_grid(entry.track, entry.images).plan.manipulators
    ]
    if seed is not None:
        chosen = np.random.default_rng(seed).choice(len(parts), min(count, len(parts)), replace=False)
        parts = [parts[i] for i in sorted(chosen)]
    for entry in dict.fromkeys(entry.name for entry, _ in parts):
        path, found = there[entry]
        models = [model for one, model in parts if one.name == entry]

        def again(path: Path = path, entry: Entry = found, models: Sequence[str] = models) -> Found:
            method, images = method_of(folder, removal.method), drawn_images(entry.images, seed)
            made = rows_under(method, removal.name, path, entry, progress, models, images)
            own = rows[rows["protector"] == entry.name]
            compared = [same(own, made, (model, removal.name, LEVEL)) for model in models]
            return next((one for one in compared if one.expected != one.got), compared[0])

        checks.append(check(f"replay {entry}/{','.join(models)}", again))
    return [f"{entry.name}/{model}" for entry, model in parts]
