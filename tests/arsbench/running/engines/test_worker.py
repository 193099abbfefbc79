"""The loop of a worker, with tasks that compute nothing."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from arsbench.running.engines.worker import work
from arsbench.running.leases import TRIES, Leases
from arsbench.running.tasks import Task

TASKS = [Task(f"0-{i}-{i + 1}", "g", range(i, i + 1)) for i in range(40)]


def refuse(task):
    pytest.fail(f"{task} was given up")


def test_workers_do_every_task_once_and_together_all(tmp_path):
    done = Counter()
    others = Counter()

    def one(name):
        mine = []
        work(
            TASKS,
            Leases(tmp_path, name),
            lambda task, *_: mine.append(task),
            refuse,
            lambda task: others.update([name]),
        )
        done.update(mine)
        assert len(mine) + others[name] == len(TASKS)

    threads = [threading.Thread(target=one, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == Counter(TASKS)


def test_a_worker_that_is_stopped_leaves_its_task_to_others(tmp_path):
    def stop(task, *_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(TASKS[:1], Leases(tmp_path, "stopped"), stop, refuse)
    done = []
    work(TASKS[:1], Leases(tmp_path, "other"), lambda task, lease, before: done.append(before), refuse)
    assert done == [True]


def test_a_task_that_ended_every_worker_is_given_up(tmp_path):
    for number in range(TRIES):
        assert Leases(tmp_path, "lost").take(TASKS[0].name, number - 1 if number else None) is not None
        path = tmp_path / f"{TASKS[0].name}.{number}"
        path.write_bytes(path.read_bytes().replace(b'"began": ', b'"began": -'))  # of a process that is gone
    given_up, computed = [], []
    work(TASKS[:2], Leases(tmp_path, "last"), lambda task, *_: computed.append(task), given_up.append)
    assert given_up == TASKS[:1]
    assert computed == TASKS[1:2]
