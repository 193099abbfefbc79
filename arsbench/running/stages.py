"""Where the seconds of a run go, by stage; the passes that no run can do without are timed inside the same run."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

from arsbench import registry
from arsbench.protocol import groups
from arsbench.running import evaluate
from arsbench.running.execute import execute
from arsbench.running.references import ReferenceCache
from arsbench.running.settings import Settings
from arsbench.running.store import MemoryStore, RunFolder
from arsbench.scoring.lpips import load_lpips
from arsbench.scoring.scorer import Scorer

PASSES, TRUNK, METRICS, PROTECTING = "manipulator passes", "LPIPS trunk", "the other metrics", "protecting"
FLOOR = (PASSES, TRUNK)
OWN = (PROTECTING, PASSES, TRUNK, METRICS)
"""What a protector that is added to a run cannot do without."""
REST = "the rest"


class Clock:
    """Seconds by stage, on the wall; a stage's do not hold those of a stage inside it.

    Of several threads, the main one alone is timed.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside: list[float] = []

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, with its time added to the stage's."""

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return function(*given, **named)
            self._inside.append(0.0)
            began = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                whole = time.perf_counter() - began
                self.seconds[stage] += whole - self._inside.pop()
                if self._inside:
                    self._inside[-1] += whole

        return call


def profile(settings: Settings) -> dict[str, float]:
    """Runs ``settings`` and returns the seconds of each stage; their sum is the run's.

    A short run comes first, so that what is loaded once in a process is not counted.

    Raises:
        ArsbenchError: as :func:`arsbench.run`.
    """
    clock = Clock()
    with _watched(clock, settings):
        execute(replace(settings, images=1, level=1, out=None))
        clock.seconds.clear()
        clock.timed(REST, execute)(settings)
    return dict(sorted(clock.seconds.items(), key=lambda one: -one[1]))


def over(seconds: Mapping[str, float], stages: Sequence[str]) -> float:
    """A run's seconds over those of some of its stages."""
    return sum(seconds.values()) / sum(seconds.get(stage, 0.0) for stage in stages)


@contextlib.contextmanager
def _watched(clock: Clock, settings: Settings) -> Iterator[None]:
    methods = registry.resolve("manipulator", settings.manipulator, groups("manipulator"))
    places: list[tuple[Any, str, str]] = [
        *((method.cls.on(settings.track), "manipulate", PASSES) for method in methods),
        (load_lpips().net, "forward", TRUNK),
        (evaluate, "manipulate", "around the passes"),
        (evaluate, "protect", PROTECTING),
        (evaluate, "perturbed", "perturbing"),
        (evaluate, "deliver", "delivering"),
        (evaluate, "_add_rows", "rows"),
        *((Scorer, name, METRICS) for name in ("reference", "score", "imperceptibility")),
        *((ReferenceCache, name, "cache") for name in ("load", "save", "trim")),
        *((store, "append", "store") for store in (MemoryStore, RunFolder)),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, stage in places:
            stack.enter_context(mock.patch.object(owner, name, clock.timed(stage, getattr(owner, name))))
        yield
