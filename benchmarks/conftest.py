from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


NOTED = pytest.StashKey[dict[str, dict[str, Any]]]()
"""What each benchmark found beside its time."""


@pytest.fixture(autouse=True)
def _describe(benchmark: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    """What a time depends on beside the processor, which pytest-benchmark records itself."""
    benchmark.extra_info |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    yield
    request.config.stash.setdefault(NOTED, {})[request.node.name] = benchmark.extra_info


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The ratios, which pytest-benchmark's own table leaves out."""
    for name, found in config.stash.get(NOTED, {}).items():
        said = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in found.items())
        terminalreporter.write_line(f"{name}: {', '.join(said)}")
