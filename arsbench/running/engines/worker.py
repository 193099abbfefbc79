"""What every worker does, wherever it runs: leases a task, computes it, says that it is done, until all are."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from arsbench.running.leases import DONE, LOOK, TRIES, Lease, Leases
from arsbench.running.tasks import Task

FIRST_PAUSE = 0.02
"""Seconds until a worker for whom nothing is left looks again; twice as long each time, up to :data:`LAST_PAUSE`."""
LAST_PAUSE = LOOK / 5

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
        tasks: in the order of the plan; each worker begins at another one of them.
        leases: as this worker sees them.
        compute: see :data:`Compute`.
        give_up: called in its place for a task that was left behind :data:`~arsbench.running.leases.TRIES` times.
        seen_done: called for each task that another worker has done.
        sleep: waits so many seconds.
    """
    first = random.Random(leases.worker).randrange(len(tasks)) if tasks else 0
    waiting = {task.name: task for task in [*tasks[first:], *tasks[:first]]}
    pause = FIRST_PAUSE
    while waiting:
        known, before = leases.look(), len(waiting)
        for name, task in list(waiting.items()):
            number = known.get(name)
            if number == DONE:
                seen_done(waiting.pop(name))
            elif (lease := leases.take(name, number)) is not None:
                _do(task, lease, leases, number, compute, give_up)
                del waiting[name]
        if len(waiting) == before:
            sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)
        else:
            pause = FIRST_PAUSE


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
