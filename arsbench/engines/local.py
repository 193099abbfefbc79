"""The local engine: one process, one device. Computes the missing rows; each batch is stored as one part."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from arsbench.evaluate import Batch, Bench, evaluate
from arsbench.faces import FaceSource
from arsbench.plan import Plan, Treatment
from arsbench.progress import Silent
from arsbench.store import Done, Failure, Store


@dataclass(frozen=True)
class Work:
    """Images that lack the same rows of one manipulator.

    Attributes:
        manipulator: its name.
        indices: of the images, in plan order.
        todo: protector -> treatments.
    """

    manipulator: str
    indices: tuple[int, ...]
    todo: Mapping[str, tuple[Treatment, ...]]


def run(
    plan: Plan,
    source: FaceSource,
    benches: Mapping[str, Callable[[], Bench]],
    store: Store,
    batch: int = 32,
    progress: Silent | None = None,
) -> list[Failure]:
    """Computes and stores every row of the plan that the store lacks.

    Args:
        plan: the cells and images.
        source: the faces, in the order of the plan's images.
        benches: manipulator -> a function that returns its bench.
        store: where the rows go; a batch is stored whole or not at all.
        batch: images at a time; memory does not depend on how many there are in all.
        progress: what is shown meanwhile.

    Returns:
        The failures of cells that could not be computed; all the others are stored.
    """
    progress = progress or Silent()
    failures: list[Failure] = []
    done = store.done()
    progress.start(done.size, int(done.sum()))
    with precise():
        for manipulator in plan.manipulators:
            bench = benches[manipulator]()
            for work in pending(plan, manipulator, done, batch):
                _one_batch(plan, source, bench, store, work, failures, progress)
    return failures


def _one_batch(
    plan: Plan, source: FaceSource, bench: Bench, store: Store, work: Work, failures: list[Failure], progress: Silent
) -> None:
    todo = without_failed(work, failures)
    if not todo:
        return
    faces = Batch(tuple(plan.images[i] for i in work.indices), source.batch(work.indices))
    result = evaluate(bench, faces, todo, lambda rows: progress.advance(rows, work.manipulator))
    if result.columns["image"]:
        store.append(result.columns)
    for failure in result.failures:
        if failure.sentence not in {known.sentence for known in failures}:
            progress.note(failure.sentence)
        failures.append(failure)


def pending(plan: Plan, manipulator: str, done: Done, batch: int) -> Iterator[Work]:
    """The missing rows of one manipulator, in groups of at most ``batch`` images that lack the same."""
    cells = [i for i, cell in enumerate(plan.cells) if cell.manipulator == manipulator]
    lacking = ~done[cells]
    patterns: dict[bytes, list[int]] = {}
    for index in np.flatnonzero(lacking.any(axis=0)):
        patterns.setdefault(lacking[:, index].tobytes(), []).append(int(index))
    for pattern, indices in patterns.items():
        wanted = np.frombuffer(pattern, dtype=bool)
        todo = _by_protector((plan.cells[i].protector, plan.cells[i].treatment) for i in np.array(cells)[wanted])
        for start in range(0, len(indices), batch):
            yield Work(manipulator, tuple(indices[start : start + batch]), todo)


def without_failed(work: Work, failures: Iterable[Failure]) -> dict[str, tuple[Treatment, ...]]:
    """The work's rows, less the cells that failed in an earlier batch."""
    failures = list(failures)
    return _by_protector(
        (protector, treatment)
        for protector, treatments in work.todo.items()
        for treatment in treatments
        if not any(f.covers((protector, work.manipulator, treatment.perturbation, treatment.level)) for f in failures)
    )


def _by_protector(pairs: Iterable[tuple[str, Treatment]]) -> dict[str, tuple[Treatment, ...]]:
    grouped: dict[str, list[Treatment]] = {}
    for protector, treatment in pairs:
        grouped.setdefault(protector, []).append(treatment)
    return {protector: tuple(treatments) for protector, treatments in grouped.items()}


@contextlib.contextmanager
def precise() -> Iterator[None]:
    """Float32 means float32 on a GPU, too, and the same algorithm each time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
