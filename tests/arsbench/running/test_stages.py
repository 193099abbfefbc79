from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arsbench.running import side_by_side
from arsbench.running.ratios import second_run
from arsbench.running.settings import Settings
from arsbench.running.stages import FLOOR, PASSES, PROTECTING, REST, TRUNK, Clock, over, profile


def in_two_threads(function: Callable[[float], None], items: Iterable[float]) -> list[None]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, items))


def test_a_stage_does_not_hold_the_seconds_of_one_inside_it() -> None:
    clock = Clock()
    inner = clock.timed("inner", lambda: time.sleep(0.02))

    def work() -> None:
        inner()
        inner()

    clock.timed("outer", work)()
    assert clock.seconds["inner"] >= 0.04
    assert clock.seconds["outer"] < clock.seconds["inner"]


def test_threads_count_by_their_share_and_the_sum_is_the_time_on_the_wall(monkeypatch) -> None:
    monkeypatch.setattr(side_by_side, "threads", lambda: 2)
    clock = Clock()
    inner = clock.timed("inner", time.sleep)
    each = clock.shared("waiting", in_two_threads)

    def run() -> None:
        each(lambda seconds: inner(seconds), [0.2, 0.1])

    began = time.perf_counter()
    clock.timed("outer", run)()
    assert sum(clock.seconds.values()) == pytest.approx(time.perf_counter() - began, abs=0.02)
    assert clock.seconds["inner"] == pytest.approx(0.15, abs=0.03)
    assert clock.seconds["waiting"] == pytest.approx(0.05, abs=0.03)
    assert clock.seconds["outer"] < 0.02


def test_a_thread_that_is_given_no_work_by_it_is_not_timed() -> None:
    clock = Clock()
    in_two_threads(clock.timed("elsewhere", time.sleep), [0.01, 0.01])
    assert not clock.seconds


def test_the_floor_is_passes_and_trunk() -> None:
    assert over({PASSES: 3.0, TRUNK: 1.0, REST: 2.0}, FLOOR) == pytest.approx(1.5)


def test_a_run_is_profiled_and_left_as_it_was() -> None:
    from arsbench.manipulators.psp import PspMix

    before = PspMix.manipulate
    seconds = profile(Settings("none", "psp-mix", "jpeg", "0,5", images=2, device="cpu", cache=False))
    assert {PASSES, TRUNK, "perturbing", "the other metrics", REST} <= seconds.keys()
    assert PspMix.manipulate is before


def test_a_second_run_leaves_the_cache_of_the_user_alone(own_cache: Path) -> None:
    seconds = second_run(Settings("none", "psp-mix", "jpeg", "0,5", images=2, device="cpu", cache=False))
    assert {PASSES, PROTECTING, "cache"} <= seconds.keys()
    assert not list(own_cache.rglob("*.safetensors"))
