"""What the harness costs: a run over its manipulator passes alone; what it saves: one by one over side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import arsbench
from arsbench.contracts import Manipulator
from arsbench.manipulators.psp import PspMix
from arsbench.running import side_by_side


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


def test_protecting_one_by_one_over_side_by_side(
    model: Manipulator, faces: tuple[Tensor, list[str]], benchmark: BenchmarkFixture
) -> None:
    x, keys = faces
    protector = arsbench.load_protector("pgd", model)

    def one(i: int) -> Tensor:
        return protector.protect(x[i : i + 1], keys[i : i + 1])

    ratios: list[float] = []

    def both() -> None:
        begin = time.perf_counter()
        side_by_side.each(one, range(len(keys)))
        middle = time.perf_counter()
        for i in range(len(keys)):
            one(i)
        ratios.append((time.perf_counter() - middle) / (middle - begin))

    benchmark.pedantic(both, rounds=3, warmup_rounds=1)
    # The first ratio is the warm-up's.
    benchmark.extra_info["one_by_one_over_side_by_side"] = sorted(ratios[1:])[len(ratios[1:]) // 2]
