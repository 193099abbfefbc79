"""The tasks of a run: one manipulator on one group of images, all protections and severities together.

The groups are of fixed images, so that whoever computes a task, and after whatever interruption, computes the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arsbench.errors import ArsbenchError
from arsbench.running.manifest import Failure
from arsbench.running.order import Done
from arsbench.running.plan import Plan


@dataclass(frozen=True)
class Task:
    """What is computed, stored and leased as one.

    Attributes:
        name: unlike that of every other task of the run; fit for a file's name.
        manipulator: its name.
        images: positions in the plan.
    """

    name: str
    manipulator: str
    images: range


def tasks_of(plan: Plan, groups: Mapping[str, int]) -> Iterator[Task]:
    """The tasks of a plan, by manipulator; ``groups``: manipulator -> at most so many images, as even as can be."""
    for place, manipulator in enumerate(plan.manipulators):
        for images in spread(range(len(plan.images)), groups[manipulator]):
            yield Task(f"{place}-{images.start}-{images.stop}", manipulator, images)


def spread(images: range, at_once: int) -> list[range]:
    """The images in groups of at most ``at_once``, as even as can be: a small one costs more an image."""
    count = math.ceil(len(images) / at_once)
    edges = np.cumsum([0] + [len(part) for part in np.array_split(np.empty(len(images)), count)])
    return [images[start:stop] for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]


def shard_of(tasks: Sequence[Task], shard: str | None) -> list[Task]:
    """Every N-th task, from the I-th on, where ``shard`` is ``I/N``; all for ``None``.

    Raises:
        ArsbenchError: ``shard`` is not such a text, with I from 1 to N.
    """
    if shard is None:
        return list(tasks)
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ArsbenchError(f"a shard is I/N with I from 1 to N, such as 1/8; not '{shard}'")
    return list(tasks[int(number) - 1 :: int(count)])


def incomplete(plan: Plan, tasks: Iterable[Task], done: Done, failures: Sequence[Failure]) -> list[Task]:
    """The tasks that lack rows of cells that did not fail; ``done`` is bool ``[cells, images]``."""
    failed = np.array([any(failure.covers(cell.label) for failure in failures) for cell in plan.cells])
    lacking = {
        name: np.asarray((~done[[cell.manipulator == name for cell in plan.cells] & ~failed]).any(axis=0))
        for name in plan.manipulators
    }
    return [task for task in tasks if lacking[task.manipulator][task.images.start : task.images.stop].any()]
