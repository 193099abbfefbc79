"""The grid of an entry, or some cells of it, computed as a run computes them, without the controls that it has not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.labels import CELL
from arsbench.running.engines import local
from arsbench.running.manifest import Failure, cell_keys, failure_documents, read_manifest
from arsbench.running.order import Done
from arsbench.running.plan import Cell, Image, Plan
from arsbench.running.prepare import Prepared, prepare
from arsbench.running.progress import NoProgress
from arsbench.running.references import ReferenceCache, default_folder
from arsbench.running.settings import Settings
from arsbench.running.store import MemoryStore, RunFolder, read_rows
from arsbench.scoring.controls import CONTROLS

EPSILON, SEED = 0.3, 0
"""The board's: entries differ in nothing but the method."""

Wanted = Callable[[Cell, Image], bool]


def settings_of(
    method: str | type,
    track: str,
    images: int,
    manipulator: str = "all",
    perturbation: str | type = "all",
    level: str | int = "all",
) -> Settings:
    """The locked protocol: epsilon and seed are fixed, and an entry's rows are of the whole grid."""
    return Settings(
        protector=method,
        manipulator=manipulator,
        perturbation=perturbation,
        level=level,
        images=images,
        track=track,
        epsilon=EPSILON,
        seed=SEED,
    )


def compute(
    prepared: Prepared,
    wanted: Wanted,
    folder: Path | None = None,
    progress: NoProgress | None = None,
    runs: Sequence[Path] = (),
) -> tuple[pd.DataFrame, list[Failure]]:
    """The rows of the wanted cells and images, and what failed.

    Args:
        prepared: the run that they are of.
        wanted: which rows.
        folder: where rows are kept, so that the work goes on after it was interrupted; ``None`` keeps nothing.
        progress: what is shown meanwhile.
        runs: whose rows are taken over into ``folder`` where they are the same; see :func:`rows_of`.
    """
    plan = prepared.plan
    left_out = ~np.array([[wanted(cell, image) for image in plan.images] for cell in plan.cells], dtype=bool)
    shown = _OfTheWanted(progress or NoProgress(), int(left_out.sum()))
    cache = ReferenceCache(default_folder(), writable=folder is not None)
    benches = {name: partial(prepared.bench, name, cache) for name in plan.manipulators}
    if folder is None:
        memory = _PartInMemory(plan, left_out)
        with shown:
            failures = local.run(plan, prepared.source, benches, memory, None, shown)
        return memory.rows(), failures
    with _PartOnDisk(folder, plan, prepared, left_out) as store, shown:
        if runs and not RunFolder.done(store).any():
            store.append({str(name): column for name, column in rows_of(plan, runs).to_dict("list").items()})
        failures = local.run(plan, prepared.source, benches, store, None, shown)
        store.update(state="failed" if failures else "finished", failures=failure_documents(failures))
        return store.rows(), failures


def rows_of(plan: Plan, runs: Sequence[Path]) -> pd.DataFrame:
    """The rows of runs that the plan would compute alike: of cells with its content keys, of images with its pixels.

    Raises:
        ArsbenchError: not a run, or a run that has none.
    """
    keys, digests = {cell.label: cell.key for cell in plan.cells}, {image.key: image.digest for image in plan.images}
    tables = []
    for run in runs:
        document, rows = read_manifest(run)["plan"], read_rows(run)
        cells = [label for label, key in cell_keys(document).items() if keys.get(label) == key]
        images = [key for key, digest in document["images"].items() if digests.get(key) == digest]
        labels = pd.MultiIndex.from_frame(rows[list(CELL)].fillna({"epsilon": 0.0}))
        same = rows[labels.isin(cells) & rows["image"].isin(images)]
        if same.empty or document["device"] != plan.device:
            raise ArsbenchError(
                f"{run} has no row that would be computed alike today: other pictures, code, weights or settings; "
                "leave it out, and the rows are computed"
            )
        tables.append(same)
    return pd.concat(tables, ignore_index=True).drop_duplicates([*CELL, "image"])


class _OfTheWanted(NoProgress):
    """Counts the rows that are wanted, not those that were left out."""

    def __init__(self, inner: NoProgress, left_out: int) -> None:
        self.inner, self.left_out = inner, left_out

    def start(self, total: int, done: int = 0, unit: str = "rows") -> None:
        """Begins to count."""
        self.inner.start(total - self.left_out, done - self.left_out, unit)

    def advance(self, steps: int = 1, now: str = "") -> None:
        """``steps`` more are done."""
        self.inner.advance(steps, now)

    def note(self, sentence: str) -> None:
        """One sentence that the reader should see."""
        self.inner.note(sentence)

    def __enter__(self) -> _OfTheWanted:
        self.inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        self.inner.__exit__(kind, error, trace)


class _PartInMemory(MemoryStore):
    """Takes what is left out for done."""

    def __init__(self, plan: Plan, left_out: Done) -> None:
        super().__init__(plan)
        self._left_out = left_out

    def done(self) -> Done:
        """Bool ``[cells, images]``: which rows exist or are not wanted."""
        return np.asarray(super().done() | self._left_out)


class _PartOnDisk(RunFolder):
    """Takes what is left out for done."""

    def __init__(self, folder: Path, plan: Plan, prepared: Prepared, left_out: Done) -> None:
        super().__init__(folder, plan, prepared.header())
        self._left_out = left_out

    def done(self) -> Done:
        """Bool ``[cells, images]``: which rows exist or are not wanted."""
        return np.asarray(super().done() | self._left_out)


def prepared_for(method: str | type, track: str, images: int, **part: Any) -> tuple[Prepared, str]:
    """The run of one method under the locked protocol, or a part of it, and the method's name.

    Further arguments are those of :func:`settings_of`, by name.

    Raises:
        ArsbenchError: as :func:`arsbench.running.prepare.prepare`, or several methods are named.
    """
    prepared = prepare(settings_of(method, track, images, **part))
    names = [name for name in prepared.plan.protectors if name not in CONTROLS]
    if isinstance(method, str) and method in CONTROLS:
        names = [method]
    if len(names) != 1:
        raise ArsbenchError(f"an entry is of one method, not of {', '.join(names) or 'none'}")
    return prepared, names[0]
