"""Several workers at once, watched: those that end or hang are replaced, and their tasks go to others."""

from __future__ import annotations

import math
import os
import time
import uuid
from dataclasses import dataclass
from typing import Protocol

from arsbench.contracts import ArsbenchError
from arsbench.registry import unknown
from arsbench.running.checks import check_number
from arsbench.running.found import Found
from arsbench.running.leases import Leases
from arsbench.running.manifest import Failure
from arsbench.running.plan import Plan
from arsbench.running.progress import NoProgress
from arsbench.running.settings import ENGINES, Settings
from arsbench.running.store import RunFolder
from arsbench.running.tasks import incomplete, tasks_of

LOOK_EVERY = 0.2
"""Seconds between two looks at the workers."""
GRACE = 20.0
"""Seconds in which workers may end by themselves after the last task is done."""


@dataclass(frozen=True)
class Ended:
    """A worker that ended.

    Attributes:
        worker: its name.
        how: what it said, or what ended it; empty where it found nothing more to do.
        lost: whether another one may do better: it was ended by something else than its input.
    """

    worker: str
    how: str = ""
    lost: bool = False


class Crew(Protocol):
    """Workers of one kind; those that are left are ended on leaving the ``with`` block."""

    def start(self, worker: str) -> None:
        """Starts a worker of that name."""

    def ended(self) -> list[Ended]:
        """Those that ended since the last call."""

    def kill(self, worker: str) -> None:
        """Ends one that hangs."""

    def __enter__(self) -> Crew:
        """The crew, without workers yet."""

    def __exit__(self, *_: object) -> None:
        """Ends those that are left."""


def check_crew(settings: Settings, keep: bool) -> bool:
    """Whether the settings ask for workers, rather than for this process alone.

    Raises:
        ArsbenchError: they cannot be had.
    """
    check_number("workers", settings.workers, 1)
    if settings.engine not in ENGINES:
        raise unknown("engine", settings.engine, ENGINES)
    if not settings.hung_after > 0:
        raise ArsbenchError(f"hung-after is {settings.hung_after}; give seconds above 0")
    if settings.address is not None and settings.engine != "ray":
        raise ArsbenchError("an address is that of a Ray cluster; give --engine ray with it")
    crewed = settings.workers > 1 or settings.engine != "local"
    if crewed and not keep:
        raise ArsbenchError("workers meet in a folder; give out, the run's folder")
    if settings.engine == "ray":
        from arsbench.running.engines.ray import check_installed

        check_installed()
    return crewed


def run(
    settings: Settings, plan: Plan, store: RunFolder, progress: NoProgress | None = None, notes: list[str] | None = None
) -> list[Failure]:
    """Computes and stores every row of the plan that the store lacks.

    Args:
        settings: how many workers, of what kind.
        plan: the cells and images.
        store: the run's folder, laid out and open to workers.
        progress: what is shown meanwhile.
        notes: what a reader should know of the methods is added to them.

    Returns:
        The failures of cells that could not be computed; all the others are stored.

    Raises:
        ArsbenchError: no worker can be started, or one was refused or ended too often.
    """
    tasks = list(tasks_of(plan, store.manifest["groups"]))
    leases = Leases(store.work, f"watch-{uuid.uuid4().hex[:8]}", settings.hung_after)
    found = Found(store.work, notes)
    progress = progress or NoProgress()
    done = store.done()
    store.count()
    progress.start(done.size, int(done.sum()))
    while left := incomplete(plan, tasks, done, found.failures):
        for task in left:
            leases.reopen(task.name)
        if len(left) < settings.workers:
            progress.note(f"there are {len(left)} tasks for {settings.workers} workers; a smaller --batch makes more")
        with _crew(settings, plan, store) as crew:
            _watch(crew, {task.name for task in left}, settings.workers, leases, found, store, progress)
        done = store.done()
    return found.failures


def threads(workers: int) -> int:
    """The threads of each of so many workers on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)


def _crew(settings: Settings, plan: Plan, store: RunFolder) -> Crew:
    if settings.engine == "ray":
        from arsbench.running.engines.ray import Actors

        return Actors(settings, plan.device, store.folder)
    from arsbench.running.engines.processes import Processes

    return Processes(settings, plan.device, store.folder)


def _watch(
    crew: Crew, tasks: set[str], most: int, leases: Leases, found: Found, store: RunFolder, progress: NoProgress
) -> None:
    """Returns when every worker has found nothing more to do, or a moment after the last task is done."""
    count = min(most, len(tasks))
    spare = count  # workers that may end without a task: one with a task counts there, see TRIES
    working = {_start(crew) for _ in range(count)}
    until = math.inf
    while working and time.monotonic() < until:  # one that hangs while others finish its task is left behind at the end
        time.sleep(LOOK_EVERY)
        if until == math.inf and leases.look()[0] >= tasks:
            until = time.monotonic() + GRACE
        progress.advance(store.count(), f"{len(working)} workers")
        for said in found.read():
            progress.note(said)
        holders = leases.holders()
        for end in crew.ended():
            working.discard(end.worker)
            if end.how and not end.lost:
                raise ArsbenchError(end.how)
            if end.lost:
                spare -= end.worker not in holders
                if spare < 0:
                    raise ArsbenchError(f"workers end before they have a task: {end.how}")
                progress.note(f"a worker ended: {end.how}; another one takes its place")
                working.add(_start(crew))
        for worker in working & holders.keys():
            task, number, taken_over = holders[worker]
            if taken_over or leases.left_behind(task, number):
                progress.note(f"a worker has shown no sign of progress for {leases.hung_after:g} seconds; it is ended")
                crew.kill(worker)


def _start(crew: Crew) -> str:
    worker = uuid.uuid4().hex[:12]
    crew.start(worker)
    return worker
