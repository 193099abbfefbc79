"""Verifies an entry in tiers: its files, some cells computed again, every cell computed again.

Tier 1 draws its cells when it runs: whoever made the entry cannot know which they will be. A method's code runs apart
(:mod:`arsbench.leaderboard.sandbox`) and gives pictures alone; what they are worth is computed here.
"""

from __future__ import annotations

import datetime
import functools
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.faces.lossless import Pixels
from arsbench.leaderboard import offline
from arsbench.leaderboard.entry import Check, Entry, Verification, read_entry, read_verifications, write_verifications
from arsbench.leaderboard.files import Wanted, files_of, protected_by
from arsbench.leaderboard.given import given_protector
from arsbench.leaderboard.grid import compute, prepared_for
from arsbench.leaderboard.offline import Found, check
from arsbench.leaderboard.sandbox import GIB, Limits
from arsbench.running.prepare import Prepared
from arsbench.running.progress import NoProgress
from arsbench.running.provenance import version_of
from arsbench.scoring.columns import IMPERCEPTIBILITY, SCORES

TIERS = (0, 1, 2)
CELLS = 6
"""How many cells tier 1 computes again."""
IMAGES = 50
"""Of how many images, at most."""
SAME_ROW, SAME_MEAN, MOST = 1e-3, 0.05, 0.9
"""On another machine a sum is rounded otherwise, and a method that takes signs of gradients may turn a few pixels: each
number of a row is the same within SAME_ROW + 2 %, in MOST of a cell's images, and the shares of success within
SAME_MEAN."""
_NUMBERS = [c.name for c in (*SCORES, *IMPERCEPTIBILITY) if not c.name.startswith("sr")]
_SHARES = [c.name for c in SCORES if c.name.startswith("sr")]


def verify(
    folder: Path,
    tier: int = 1,
    seed: int | None = None,
    cells: int = CELLS,
    seconds: float | None = None,
    memory: int = 6 * GIB,
    progress: NoProgress | None = None,
) -> Verification:
    """Verifies an entry.

    Args:
        folder: of the entry.
        tier: 0, 1 or 2; each includes those below it.
        seed: that the cells of tier 1 are drawn by; ``None`` draws one now. Give one to repeat a verification alone.
        cells: how many tier 1 computes again.
        seconds: that the method's process may take; ``None``: 120, and 30 for every picture.
        memory: bytes that it may take.
        progress: what is shown meanwhile.

    Returns:
        One check after the other, up to the first that the later ones rest on and that failed.
    """
    drawn = drawn_seed(tier, seed)
    checks: list[Check] = []
    replayed: list[str] = []
    entry = _readable(folder, checks)
    if entry is not None and _all(checks):
        prepared = whole_grid(entry.track, entry.images)
        rows = _tier_0(folder, entry, prepared, checks)
        if rows is not None and tier > 0 and _all(checks):
            replayed = _replay(
                folder, entry, rows, _draw(prepared, drawn, cells), drawn, checks, (seconds, memory), progress
            )
    return verification(tier, drawn, replayed, checks)


def verification(tier: int, seed: int | None, cells: Sequence[str], checks: Sequence[Check]) -> Verification:
    """What was found, of today."""
    return Verification(
        tier=2 if tier == 2 else 1 if tier == 1 else 0,
        date=datetime.datetime.now(datetime.timezone.utc).date(),
        seed=seed,
        cells=list(cells),
        checks=list(checks),
        passed=_all(checks),
        version=version_of("arsbench") or "unknown",
    )


def drawn_seed(tier: int, seed: int | None) -> int | None:
    """What tier 1 draws by: what is given, or what nobody can know before; ``None`` for the other tiers.

    Raises:
        ArsbenchError: there is no such tier.
    """
    if tier not in TIERS:
        raise ArsbenchError(f"there is no tier {tier}; there are: 0, 1, 2")
    return (secrets.randbits(53) if seed is None else seed) if tier == 1 else None


def drawn_images(count: int, seed: int | None) -> list[int]:
    """The images that are computed again: at most :data:`IMAGES` of them, or all without a seed."""
    if seed is None or count <= IMAGES:
        return list(range(count))
    return sorted(np.random.default_rng((seed, 1)).choice(count, IMAGES, replace=False).tolist())


def record(folder: Path, verification: Verification) -> None:
    """Appends a verification to those of the entry."""
    write_verifications(folder, [*read_verifications(folder), verification])


@functools.lru_cache(maxsize=2)
def whole_grid(track: str, images: int) -> Prepared:
    """Cells, faces and manipulators that an entry of so many images is held against; loaded once for many entries."""
    return prepared_for("none", track, images)[0]


def _all(checks: Sequence[Check]) -> bool:
    return all(one.passed for one in checks)


# --- tier 0 ---------------------------------------------------------------------------------------------------------


def _readable(folder: Path, checks: list[Check]) -> Entry | None:
    """The files are plain and the entry is of its schema."""
    found: list[Entry] = []

    def files() -> Found:
        files_of(folder)
        return Found("plain files", "plain files")

    def schema() -> Found:
        found.append(read_entry(folder))
        return Found("format 1", f"format {found[0].format}")

    checks.append(check("files", files))
    if checks[-1].passed:
        checks.append(check("schema", schema))
    return found[0] if found else None


def _tier_0(folder: Path, entry: Entry, prepared: Prepared, checks: list[Check]) -> pd.DataFrame | None:
    checks += [
        check("hashes", lambda: offline.hashes(folder, entry.method, entry.rows_sha256)),
        check("protocol", lambda: offline.same_protocol(entry)),
        check("weights", lambda: offline.weights(entry, prepared)),
    ]
    read: list[pd.DataFrame] = []
    plan = prepared.plan
    count = len(plan.manipulators) * len(plan.severities) * len(plan.images)

    def schema() -> Found:
        read.append(offline.read_checked_rows(folder, count))
        return Found("rows", "rows")

    checks.append(check("rows", schema))
    if not read:
        return None
    rows = read[0]
    checks.append(check("completeness", lambda: offline.complete(rows, entry, prepared)))
    if not checks[-1].passed:
        return None
    checks.append(check("consistency", lambda: offline.consistent(rows, entry)))
    if entry.method.kind == "pictures":
        checks.append(check("pictures", lambda: offline.pictures(folder, entry, rows, prepared)))
    checks.append(check("aggregates", lambda: offline.aggregates(rows, entry)))
    return rows


# --- tiers 1 and 2 --------------------------------------------------------------------------------------------------

Label = tuple[str, str, int]


def _draw(prepared: Prepared, seed: int | None, count: int) -> list[Label]:
    """Manipulator, perturbation and level of the cells: ``count`` of them, or all without a seed."""
    plan = prepared.plan
    labels = [(m, *severity.label) for m in plan.manipulators for severity in plan.severities]
    if seed is None:
        return labels
    chosen = np.random.default_rng(seed).choice(len(labels), size=min(count, len(labels)), replace=False)
    return [labels[i] for i in sorted(chosen)]


def _replay(
    folder: Path,
    entry: Entry,
    rows: pd.DataFrame,
    labels: Sequence[Label],
    seed: int | None,
    checks: list[Check],
    limit: tuple[float | None, int],
    progress: NoProgress | None,
) -> list[str]:
    """Computes cells again and compares; which they were."""
    made: dict[str, Pixels] = {}
    whole = whole_grid(entry.track, entry.images)
    plan = whole.plan
    indices = drawn_images(len(plan.images), seed)
    keys = [plan.images[i].key for i in indices]
    models = [name for name in plan.manipulators if any(label[0] == name for label in labels)]
    wanted = Wanted(models, keys, np.stack([whole.source.pixels(i) for i in indices]))

    limits = Limits(seconds=limit[0] or 120 + 30 * len(keys) * len(models), memory=limit[1])

    def protected() -> Found:
        made.update(protected_by(folder, entry, wanted, limits))
        return Found(f"{len(keys)} pictures", f"{len(keys)} pictures")

    checks.append(check("method", protected))
    if not checks[-1].passed:
        return []
    given = given_protector(made, keys, ceiling=entry.method.class_ == "arsbench:white")
    prepared, name = prepared_for(given, entry.track, entry.images)
    chosen, images = set(labels), set(keys)
    again, failures = compute(
        prepared,
        lambda cell, image: cell.protector == name and cell.label[1:4] in chosen and image.key in images,
        progress=progress,
    )
    if failures:
        checks.append(Check(name="replay", passed=False, expected="every cell", got=failures[0].sentence[:500]))
    for label in labels:
        checks.append(check(f"replay {_text(label)}", lambda label=label: same(rows, again, label)))  # type: ignore[misc]
    return [_text(label) for label in labels]


def _text(label: Label) -> str:
    return "/".join(map(str, label))


def same(rows: pd.DataFrame, again: pd.DataFrame, label: Label) -> Found:
    """Whether a cell's rows are those that came of it now."""
    names = ["manipulator", "perturbation", "level"]
    new = again[(again[names] == list(label)).all(axis=1)].set_index("image")
    old = rows[(rows[names] == list(label)).all(axis=1)].set_index("image").reindex(new.index)
    if new.empty:
        return Found("rows", "none")
    same = pd.Series(True, index=new.index)
    for name in _NUMBERS:
        before, now = old[name], new[name]
        close = (before - now).abs() <= SAME_ROW + 0.02 * now.abs()
        same &= close | (before == now) | (before.isna() & now.isna())
    far = [name for name in _SHARES if not abs(old[name].mean() - new[name].mean()) <= SAME_MEAN]
    texts = [
        ", ".join(f"{name} {frame[name].mean():.4f}" for name in ("mse", "sr", "sr_strict")) for frame in (old, new)
    ]
    if same.mean() >= MOST and not far:
        return Found(texts[0], texts[0])
    return Found(f"{texts[0]} as submitted", f"{texts[1]}; {int((~same).sum())} of {len(same)} images differ")
