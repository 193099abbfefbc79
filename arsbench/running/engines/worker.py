"""What every worker does, wherever it runs: leases a task, computes it, says that it is done, until all are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from arsbench.running.leases import LOOK, TRIES, Lease, Leases
from arsbench.running.tasks import Task

FIRST_PAUSE = 0.02
"""Seconds until a worker for whom nothing is left looks again; twice as long each time, up to :data:`LAST_PAUSE`."""
LAST_PAUSE = LOOK / 5
MISSES = 50
"""Tasks that were free when the worker looked and are no more, after which it looks again."""

Compute = Callable[[Task, Lease, bool], None]
"""Stores the rows of a task that are missing; the last argument says that another worker had begun it."""


def work(
    tasks: Sequence[Task],
    leases: Leases,
    compute: Compute,
    give_up: Callable[[Task], None],
    seen_done: Callable[[Task], None] = lambda task: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns when every task is done, by this worker or by others.

    Args:
        tasks: any; workers take them in different orders, so as not to meet at every one.
        leases: as this worker sees them.
        compute: see :data:`Compute`.
        give_up: called in its place for a task that was left behind :data:`~arsbench.running.leases.TRIES` times.
        seen_done: called for each task that another worker has done.
        sleep: waits so many seconds.
    """
    waiting = {task.name: task for task in _in_own_order(tasks, leases.worker)}
    pause = FIRST_PAUSE
    while waiting:
        done, held = leases.look()
        before, missed = len(waiting), 0
        for name in waiting.keys() & done:
            seen_done(waiting.pop(name))
        for name, task in list(waiting.items()):
            number = held.get(name)
            lease = leases.take(name, number)
            if lease is not None:
                _do(task, lease, leases, number, compute, give_up)
                del waiting[name]
            elif number is None and (missed := missed + 1) == MISSES:
                break
        if len(waiting) < before or missed:
            pause = FIRST_PAUSE
        else:
            sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)


def _in_own_order(tasks: Sequence[Task], worker: str) -> list[Task]:
    """One manipulator after the other; which is the first, and each one's tasks, as the worker's name has it."""
    draws = np.random.default_rng(list(worker.encode()))
    of: dict[str, list[Task]] = {}
    for task in tasks:
        of.setdefault(task.manipulator, []).append(task)
    return [
        own[i]
        for own in map(of.__getitem__, draws.permutation(list(of)).tolist())
        for i in draws.permutation(len(own)).tolist()
    ]


def _do(
    task: Task, lease: Lease, leases: Leases, number: int | None, compute: Compute, give_up: Callable[[Task], None]
) -> None:
    with lease.beating():
        try:
            if number is not None and leases.losses(task.name, number) >= TRIES:
                give_up(task)
            else:
                compute(task, lease, number is not None)
            leases.done(task.name)
        except BaseException:
            lease.give_back()
            raise
