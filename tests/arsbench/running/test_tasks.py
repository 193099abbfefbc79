from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arsbench.contracts import ArsbenchError
from arsbench.running.manifest import Failure
from arsbench.running.tasks import incomplete, shard_of, spread, tasks_of
from tests.arsbench.running.test_store import make

PLAN = make(protectors={"p": {"g": ["p"], "h": ["p"]}}, manipulators={"g": ["g"], "h": ["h"]})
"""Cells: g none, g fade, h none, h fade; three images."""
TASKS = list(tasks_of(PLAN, {"g": 2, "h": 3}))


def test_every_image_is_in_one_task_of_each_manipulator():
    assert [(task.manipulator, list(task.images)) for task in TASKS] == [("g", [0, 1]), ("g", [2]), ("h", [0, 1, 2])]
    assert len({task.name for task in TASKS}) == 3


@given(st.integers(1, 300), st.integers(1, 70))
def test_groups_are_as_even_as_can_be(count, at_once):
    groups = spread(range(count), at_once)
    assert [i for group in groups for i in group] == list(range(count))
    sizes = [len(group) for group in groups]
    assert max(sizes) <= at_once
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-count // at_once)


@given(st.integers(1, 9))
def test_the_shards_are_the_whole_and_nothing_twice(count):
    found = [task for i in range(count) for task in shard_of(TASKS, f"{i + 1}/{count}")]
    assert sorted(found, key=TASKS.index) == TASKS


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "1/0", "a/b", "-1/2", ""])
def test_what_is_no_shard_is_one_sentence(shard):
    with pytest.raises(ArsbenchError, match="a shard is I/N"):
        shard_of(TASKS, shard)


def test_tasks_lack_what_is_not_there_and_did_not_fail():
    done = np.ones((4, 3), dtype=bool)
    assert incomplete(PLAN, TASKS, done, []) == []
    done[1, 2] = done[2, 0] = False
    assert incomplete(PLAN, TASKS, done, []) == TASKS[1:]
    assert incomplete(PLAN, TASKS, done, [Failure("", manipulator="h")]) == TASKS[1:2]
