"""Table 4: faces per second of every protector against psp-mix, and PGD-10's time over that of ARS."""

from __future__ import annotations

import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import arsbench
from arsbench.contracts import Manipulator

Faces = tuple[Tensor, list[str]]


@pytest.mark.parametrize("name", ["fgsm", "pgd", "disrupt", "eot_pgd", "ars", "ars_tuned"])
def test_faces_per_second(name: str, model: Manipulator, faces: Faces, benchmark: BenchmarkFixture) -> None:
    protector = arsbench.load_protector(name, model)
    benchmark.pedantic(protector.protect, args=faces, rounds=3, warmup_rounds=1)
    benchmark.extra_info["seconds_per_face"] = benchmark.stats.stats.min / len(faces[1])
    benchmark.extra_info["faces_per_second"] = len(faces[1]) / benchmark.stats.stats.min


@pytest.mark.parametrize("name", ["ars", "ars_tuned"])
def test_pgd_10_over_ars(name: str, model: Manipulator, faces: Faces, benchmark: BenchmarkFixture) -> None:
    pgd, ars = arsbench.load_protector("pgd", model), arsbench.load_protector(name, model)
    ratios: list[float] = []

    def both() -> None:
        begin = time.perf_counter()
        ars.protect(*faces)
        middle = time.perf_counter()
        pgd.protect(*faces)
        ratios.append((time.perf_counter() - middle) / (middle - begin))

    benchmark.pedantic(both, rounds=3, warmup_rounds=1)
    # The first ratio is the warm-up's.
    benchmark.extra_info["pgd_over_ars"] = sorted(ratios[1:])[len(ratios[1:]) // 2]
