"""What the harness costs: the time of a run over the time its manipulator passes took, within the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import arsbench
from manipulators.psp import PspMix


@pytest.mark.parametrize("protector", ["none", "ars"])
def test_a_run_over_its_manipulator_passes(
    protector: str, benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[float] = []
    original: Callable[..., Tensor] = PspMix.manipulate

    def timed(self: PspMix, x: Tensor, keys: Sequence[str]) -> Tensor:
        begin = time.perf_counter()
        y = original(self, x, keys)
        passes.append(time.perf_counter() - begin)
        return y

    monkeypatch.setattr(PspMix, "manipulate", timed)
    # Without the cache, every reference is computed.
    arguments: dict[str, Any] = {"protector": protector, "manipulator": "psp-mix", "images": 32, "cache": False}
    arsbench.run(**arguments | {"images": 2, "level": "0,1"})
    passes.clear()
    benchmark.pedantic(arsbench.run, kwargs=arguments, rounds=1, iterations=1)
    whole = benchmark.stats.stats.max
    benchmark.extra_info |= {
        "manipulator_seconds": sum(passes),
        "manipulator_passes": len(passes),
        "run_over_passes": whole / sum(passes),
    }
