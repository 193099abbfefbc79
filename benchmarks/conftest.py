from __future__ import annotations

import pytest
import torch

import arsbench
from arsbench.contracts import Manipulator


@pytest.fixture(scope="session")
def model() -> Manipulator:
    return arsbench.load_manipulator("psp-mix")


@pytest.fixture(scope="session")
def faces() -> tuple[torch.Tensor, list[str]]:
    return arsbench.load_faces(n=32)


@pytest.fixture(autouse=True)
def _describe(benchmark: object) -> None:
    """What a time depends on beside the processor, which pytest-benchmark records itself."""
    benchmark.extra_info |= {"torch": torch.__version__, "threads": torch.get_num_threads()}  # type: ignore[attr-defined]
