"""The local engine: one process, one device. Computes the missing rows; each batch is stored as one part."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from arsbench.allocator import keep_freed_memory
from arsbench.contracts import ArsbenchError
from arsbench.faces.sources import FaceSource
from arsbench.process_state import exits_refused
from arsbench.running.bench import Batch, Bench
from arsbench.running.engines.batch_size import batch_size
from arsbench.running.evaluate import evaluate
from arsbench.running.manifest import Failure
from arsbench.running.order import Done
from arsbench.running.plan import Cell, Plan, Protection, Severity
from arsbench.running.progress import NoProgress
from arsbench.running.store import Store
from arsbench.running.tasks import spread


@dataclass(frozen=True)
class Work:
    """Images that lack the same rows of one manipulator.

    Attributes:
        manipulator: its name.
        indices: of the images, in plan order.
        todo: protection -> severities.
    """

    manipulator: str
    indices: tuple[int, ...]
    todo: Mapping[Protection, tuple[Severity, ...]]

    def split(self, at_once: int) -> list[Work]:
        """The same in groups of at most ``at_once`` images, as even as can be."""
        groups = spread(range(len(self.indices)), at_once)
        return [Work(self.manipulator, self.indices[group.start : group.stop], self.todo) for group in groups]


def run(
    plan: Plan,
    source: FaceSource,
    benches: Mapping[str, Callable[[], Bench]],
    store: Store,
    batch: int | None = None,
    progress: NoProgress | None = None,
    notes: list[str] | None = None,
) -> list[Failure]:
    """Computes and stores every row of the plan that the store lacks.

    Args:
        plan: the cells and images.
        source: the faces, in the order of the plan's images.
        benches: manipulator -> a function that returns its bench.
        store: where the rows go; a batch is stored whole or not at all.
        batch: images at a time; memory does not depend on how many there are in all. ``None``: as many as fit. Where
            a batch turns out not to fit, its images are done again in halves, and those after it, too.
        progress: what is shown meanwhile.
        notes: what a reader should know of the methods is added to them.

    Returns:
        The failures of cells that could not be computed; all the others are stored.
    """
    progress = progress or NoProgress()
    notes = [] if notes is None else notes
    failures: list[Failure] = []
    done = store.done()
    progress.start(done.size, int(done.sum()))
    for manipulator in plan.manipulators:
        bench = benches[manipulator]()
        at_once = batch or batch_size(bench.manipulator, source.size)
        waiting = list(pending(plan, manipulator, done, spread(range(len(plan.images)), at_once)))
        compute(plan, source, bench, store, waiting, failures, progress, notes)
    return failures


def compute(
    plan: Plan,
    source: FaceSource,
    bench: Bench,
    store: Store,
    waiting: list[Work],
    failures: list[Failure],
    progress: NoProgress,
    notes: list[str],
) -> None:
    """Computes and stores what is waiting for one manipulator; ``failures`` and ``notes`` are added to.

    Cells of failures that are there already are left out. Arguments as of :func:`run`.
    """
    at_once = max((len(work.indices) for work in waiting), default=1)
    keep_freed_memory()
    with precise(), exits_refused():
        while waiting:
            work, *others = waiting.pop(0).split(at_once)
            waiting[:0] = others
            try:
                _one_batch(plan, source, bench, store, work, failures, progress)
                for note in bench.notes:
                    if note not in notes:
                        notes.append(note)
                        progress.note(note)
            except torch.OutOfMemoryError as error:
                _free()
                if len(work.indices) == 1:
                    raise ArsbenchError(
                        f"manipulator '{bench.manipulator_name}' and what runs with it do not fit into the memory of "
                        f"{bench.manipulator.device}, not even with one image at a time; give --device cpu"
                    ) from error
                at_once = len(work.indices) // 2
                waiting.insert(0, work)
                progress.note(f"{len(work.indices)} images at a time do not fit; going on with {at_once}")


def _one_batch(
    plan: Plan,
    source: FaceSource,
    bench: Bench,
    store: Store,
    work: Work,
    failures: list[Failure],
    progress: NoProgress,
) -> None:
    todo = without_failed(work, failures)
    if not todo:
        return
    faces = Batch(tuple(plan.images[i] for i in work.indices), source.batch(work.indices))
    shown, one_at_a_time = 0, threading.Lock()

    def advance(rows: int) -> None:
        nonlocal shown
        with one_at_a_time:
            shown += rows
            progress.advance(rows, work.manipulator)

    try:
        result = evaluate(bench, faces, todo, advance)
    except torch.OutOfMemoryError:
        progress.advance(-shown, work.manipulator)
        raise
    if result.columns["image"]:
        store.append(result.columns)
    for failure in result.failures:
        if failure.sentence not in {known.sentence for known in failures}:
            progress.note(failure.sentence)
        failures.append(failure)


def _free() -> None:
    """Gives back what the device's allocator keeps."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def pending(plan: Plan, manipulator: str, done: Done, groups: Sequence[range]) -> Iterator[Work]:
    """The missing rows of one manipulator: a piece for each group that lacks the same throughout.

    What is left of the others is put together anew, so that single missing images make no small batches.
    """
    cells = np.array([i for i, cell in enumerate(plan.cells) if cell.manipulator == manipulator])
    rest: dict[bytes, list[int]] = {}
    for images in groups:
        lacking = ~done[cells, images.start : images.stop]
        if (lacking == lacking[:, :1]).all():
            if lacking.any():
                yield Work(manipulator, tuple(images), _wanted(plan, cells[lacking[:, 0]]))
            continue
        for place in np.flatnonzero(lacking.any(axis=0)):
            rest.setdefault(lacking[:, place].tobytes(), []).append(images[place])
    for pattern, indices in rest.items():
        todo = _wanted(plan, cells[np.frombuffer(pattern, dtype=bool)])
        yield from Work(manipulator, tuple(indices), todo).split(max(map(len, groups)))


def _wanted(plan: Plan, cells: Iterable[int]) -> dict[Protection, tuple[Severity, ...]]:
    return _by_protection((plan.cells[i].protection, plan.cells[i].severity) for i in cells)


def without_failed(work: Work, failures: Iterable[Failure]) -> dict[Protection, tuple[Severity, ...]]:
    """The work's rows, less the cells that failed in an earlier batch."""
    failures = list(failures)
    return _by_protection(
        (protection, severity)
        for protection, severities in work.todo.items()
        for severity in severities
        if not any(f.covers(Cell(protection, work.manipulator, severity, "").label) for f in failures)
    )


def _by_protection(pairs: Iterable[tuple[Protection, Severity]]) -> dict[Protection, tuple[Severity, ...]]:
    grouped: dict[Protection, list[Severity]] = {}
    for protection, severity in pairs:
        grouped.setdefault(protection, []).append(severity)
    return {protection: tuple(severities) for protection, severities in grouped.items()}


@contextlib.contextmanager
def precise() -> Iterator[None]:
    """Float32 means float32 on a GPU, too, and the same algorithm each time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
