"""Who holds a task: never two that both live, whatever is interleaved, and never nobody for good."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arsbench.running import leases
from arsbench.running.leases import EXPIRY, LOOK, Leases

TASK = "0-0-4"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def first(tmp_path, clock):
    return Leases(tmp_path, "first", 100.0, clock)


@pytest.fixture
def second(tmp_path, clock):
    return Leases(tmp_path, "second", 100.0, clock)


def highest(of):
    return of.look()[1].get(TASK)


def wait(of, clock, seconds):
    """Looks at the task again and again for so long; the lease that is got, if any."""
    until = clock.now + seconds
    while clock.now < until:
        if (lease := of.take(TASK, highest(of))) is not None:
            return lease
        clock.now += LOOK
    return None


def test_one_of_many_gets_a_task(tmp_path):
    got = []
    start = threading.Barrier(16)

    def take(name):
        mine = Leases(tmp_path, name)
        start.wait()
        got.append(mine.take(TASK))

    threads = [threading.Thread(target=take, args=(str(i),)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([lease for lease in got if lease is not None]) == 1


def test_a_lease_that_beats_is_left_alone(first, second, clock):
    lease = first.take(TASK)
    for number in range(1, 10):
        assert wait(second, clock, EXPIRY / 2) is None
        lease.progress()
        assert lease.beat(number)


def test_a_lease_that_does_not_beat_is_taken_over_once_it_was_watched_long_enough(first, second, clock):
    first.take(TASK)
    clock.now += 10 * EXPIRY  # nobody has looked: of a lease that was never seen nothing is known
    assert wait(second, clock, EXPIRY - LOOK) is None
    assert wait(second, clock, 2 * LOOK) is not None
    assert highest(second) == 1


def test_who_was_taken_over_beats_no_more_and_overwrites_nothing(first, second, clock, tmp_path):
    lease = first.take(TASK)
    wait(second, clock, 2 * EXPIRY)
    held = (tmp_path / f"{TASK}.1").read_bytes()
    lease.progress()
    assert not lease.beat(7)
    assert (tmp_path / f"{TASK}.1").read_bytes() == held


def test_who_makes_no_progress_beats_no_more(first, clock):
    lease = first.take(TASK)
    clock.now += 99
    assert lease.beat(1)
    clock.now += 2
    assert not lease.beat(2)


def test_what_is_given_back_is_free_at_once_and_no_loss(first, second):
    first.take(TASK).give_back()
    assert second.take(TASK, highest(second)) is not None
    assert second.losses(TASK, 0) == 0
    assert second.losses(TASK, 1) == 1


def test_a_process_of_this_machine_that_is_gone_holds_nothing(first, second, tmp_path):
    first.take(TASK)
    path = tmp_path / f"{TASK}.0"
    path.write_text(json.dumps({**json.loads(path.read_text()), "began": -1.0}))
    assert second.take(TASK, highest(second)) is not None


def test_one_of_another_machine_is_watched(first, second, tmp_path):
    first.take(TASK)
    path = tmp_path / f"{TASK}.0"
    path.write_text(json.dumps({**json.loads(path.read_text()), "began": -1.0, "host": "elsewhere"}))
    assert second.take(TASK, highest(second)) is None


def test_what_is_done_is_never_taken_until_it_is_reopened(first, second):
    first.take(TASK)
    first.done(TASK)
    assert second.look() == ({TASK}, {})
    assert second.take(TASK) is None  # by one who had looked before
    second.reopen(TASK)
    assert second.take(TASK) is not None


def test_the_wall_clock_is_never_asked(first, second, clock, monkeypatch):
    monkeypatch.setattr(leases.time, "time", lambda: pytest.fail("the wall clock was read"))
    first.take(TASK)
    assert wait(second, clock, 2 * EXPIRY) is not None


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["try", "beat", "end", "stall"]), st.sampled_from([0.0, 1.0, LOOK, 25.0])
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_two_hold_a_task_while_each_beats_in_time(steps):
    """Workers try, beat and stall in any order; one that has beaten within the last EXPIRY is never taken over."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        workers = [Leases(Path(folder), str(i), 1e9, clock) for i in range(3)]
        holding, beaten, numbers = {}, {}, set()
        for beat, (i, what, seconds) in enumerate(steps):
            clock.now += seconds
            if what == "try" and i not in holding:
                before = highest(workers[i])
                if (lease := workers[i].take(TASK, before)) is not None:
                    late = [j for j in holding if clock.now - beaten[j] < EXPIRY]
                    assert not late
                    number = highest(workers[i])
                    assert number not in numbers  # nobody ever held it under this number
                    numbers.add(number)
                    holding, beaten[i] = {**holding, i: lease}, clock.now
            elif what == "beat" and i in holding:
                if holding[i].beat(beat + 1):
                    beaten[i] = clock.now
                else:
                    del holding[i]
            elif what == "end" and i in holding:
                holding.pop(i).give_back()
        # Whatever happened, someone who goes on looking gets the task.
        assert wait(Leases(Path(folder), "last", 1e9, clock), clock, 2 * EXPIRY + LOOK) is not None
