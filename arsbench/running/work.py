"""One worker on a run that was laid out, from nothing but the run's folder."""

from __future__ import annotations

import functools
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from arsbench.errors import Stopped
from arsbench.folders import give_matplotlib_a_folder
from arsbench.running.again import run_of, settings_like
from arsbench.running.bench import Bench
from arsbench.running.engines import local
from arsbench.running.engines.worker import work
from arsbench.running.execute import Interrupted, Outcome, finish
from arsbench.running.found import Found
from arsbench.running.leases import TRIES, Lease, Leases
from arsbench.running.manifest import Failure
from arsbench.running.prepare import Prepared, prepare
from arsbench.running.progress import NoProgress
from arsbench.running.references import ReferenceCache, default_folder
from arsbench.running.settings import HUNG_AFTER
from arsbench.running.store import RunFolder
from arsbench.running.tasks import Task, incomplete, shard_of, tasks_of

FINISH = "finish"
"""Leased as a task is by the worker that writes what came of the run."""


def work_on(
    run: str | Path,
    shard: str | None = None,
    cache: bool = True,
    hung_after: float = HUNG_AFTER,
    progress: NoProgress | None = None,
    crew: str | None = None,
) -> Outcome | None:
    """Works on a run until all of its tasks, or those of a shard, are done, by this worker or by others.

    Args:
        run: its folder, laid out by :func:`arsbench.running.execute.lay_out`.
        shard: ``I/N``: every N-th task from the I-th on; ``None`` for all.
        cache: read and write the references of earlier runs.
        hung_after: seconds without a row after which others take over what this worker is at.
        progress: what is shown meanwhile.
        crew: this worker's name in a crew, which finishes the run itself.

    Returns:
        What came of the run, from the one worker that finds it complete; ``None`` from all others.

    Raises:
        ArsbenchError: not a run that was laid out, or this worker would compute another one: other code, weights,
            pictures or another kind of device.
        Interrupted: on Ctrl-C; what was begun is left to others.
    """
    folder = run_of(run)
    progress = progress or NoProgress()
    shard_of([], shard)
    prepared = prepare(replace(settings_like(folder), cache=cache))
    give_matplotlib_a_folder()
    with RunFolder(folder, prepared.plan, None) as store, progress:
        worker = _Worker(prepared, store, cache, hung_after, progress, crew or uuid.uuid4().hex[:12])
        try:
            while True:
                worker.work(shard)
                if crew is not None or not worker.all_done():
                    return None
                lease = worker.leases.take(FINISH, worker.leases.look()[1].get(FINISH))
                if lease is None:
                    return None
                with lease.beating():
                    try:
                        if not worker.reopened():
                            outcome = finish(prepared.plan, store, worker.found.failures, worker.notes())
                            store.leave()
                            return outcome
                    finally:
                        lease.give_back()
        except KeyboardInterrupt as error:
            raise Interrupted(folder, error.signal if isinstance(error, Stopped) else None) from error


class _Worker:
    """What a worker keeps between two tasks."""

    def __init__(
        self, prepared: Prepared, store: RunFolder, cache: bool, hung_after: float, progress: NoProgress, name: str
    ) -> None:
        self._prepared = prepared
        self._plan = prepared.plan
        self._store = store
        self._progress = progress
        self._cache = ReferenceCache(default_folder() if cache else None)
        self._told: list[str] = []
        self._tasks = list(tasks_of(self._plan, store.manifest["groups"]))
        self.leases = Leases(store.work, name, hung_after)
        self.found = Found(store.work)
        self.found.read()
        self._done = store.done()
        progress.start(self._done.size, int(self._done.sum()))

    def work(self, shard: str | None) -> None:
        """Until all tasks of the shard are done."""
        work(shard_of(self._tasks, shard), self.leases, self._compute, self._give_up, self._seen_done)
        self._cache.trim()
        self._tell([], [*self._prepared.notes, *self._store.notes, *self._cache.notes])

    def all_done(self) -> bool:
        """Whether every task of the run was said to be done."""
        return self.leases.look()[0] >= {task.name for task in self._tasks}

    def reopened(self) -> bool:
        """Whether tasks lack rows that were said to be there; they are to be done again."""
        self.found.read()
        self._done = self._store.done()
        lost = incomplete(self._plan, self._tasks, self._done, self.found.failures)
        for task in lost:
            self.leases.reopen(task.name)
        return bool(lost)

    def notes(self) -> list[str]:
        """Of all workers."""
        return self.found.notes

    def _compute(self, task: Task, lease: Lease, begun_before: bool) -> None:
        for said in self.found.read():
            self._progress.note(said)
        if begun_before:
            self._done = self._store.done()
        failures, notes = list(self.found.failures), list(self.found.notes)
        waiting = list(local.pending(self._plan, task.manipulator, self._done, [task.images]))
        bench = self._bench(task.manipulator)
        shown = _Heard(self._progress, lease)
        local.compute(self._plan, self._prepared.source, bench, self._store, waiting, failures, shown, notes)
        self._tell(failures[len(self.found.failures) :], notes[len(self.found.notes) :])

    def _give_up(self, task: Task) -> None:
        first, last = (self._plan.images[i].key for i in (task.images.start, task.images.stop - 1))
        sentence = (
            f"{TRIES} workers ended or hung at manipulator '{task.manipulator}' and images '{first}' to '{last}'; "
            "it was given up"
        )
        self._tell([Failure(sentence, manipulator=task.manipulator)], [])

    def _seen_done(self, task: Task) -> None:
        self._progress.advance(
            int(self._lacking(task.manipulator)[task.images.start : task.images.stop].sum()), "others"
        )

    @functools.cache  # noqa: B019
    def _lacking(self, manipulator: str) -> npt.NDArray[np.int64]:
        """Rows of each image that were not there when this worker began."""
        cells = [cell.manipulator == manipulator for cell in self._plan.cells]
        return np.asarray((~self._done[cells]).sum(axis=0), dtype=np.int64)

    def _tell(self, failures: list[Failure], notes: list[str]) -> None:
        new = [note for note in dict.fromkeys(notes) if note not in self._told]
        self._told += new
        self.found.tell(failures, new)

    @functools.cache  # noqa: B019 - the worker lives as long as its process
    def _bench(self, manipulator: str) -> Bench:
        return self._prepared.bench(manipulator, self._cache)


class _Heard(NoProgress):
    """Shows rows, and tells the lease that the task goes on."""

    def __init__(self, shown: NoProgress, lease: Lease) -> None:
        self._shown = shown
        self._lease = lease

    def advance(self, steps: int = 1, now: str = "") -> None:
        """Rows more."""
        self._lease.progress()
        self._shown.advance(steps, now)

    def note(self, sentence: str) -> None:
        """One sentence that the reader should see."""
        self._shown.note(sentence)
