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
from arsbench.running import evaluate, side_by_side
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
REST, WAITING = "the rest", "waiting for the other cores"


class Clock:
    """Seconds by stage, on the wall; a stage's do not hold those of a stage inside it.

    What several threads did side by side counts by its share of them: a second of one of two threads is half a second.
    Other threads than the main one, and those that :meth:`shared` gives work, are not timed.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._of_thread = threading.local()
        self._lock = threading.Lock()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, with its time added to the stage's."""

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                return self._counted(stage, 1.0, function, *given, **named)
            share = getattr(self._of_thread, "share", None)
            return (
                function(*given, **named) if share is None else self._counted(stage, share, function, *given, **named)
            )

        return call

    def shared(self, waiting: str, each: Callable[..., Any]) -> Callable[..., Any]:
        """``each`` of :mod:`~arsbench.running.side_by_side` with its threads timed, and what is spent ``waiting``."""

        @functools.wraps(each)
        def call(function: Callable[[Any], Any], items: Any) -> Any:
            share = 1 / side_by_side.threads()
            worked: list[float] = []

            def timed(item: Any) -> Any:
                self._of_thread.share = share
                began = time.perf_counter()
                try:
                    return self._counted(REST, share, function, item)
                finally:
                    worked.append(share * (time.perf_counter() - began))
                    self._of_thread.share = None

            began = time.perf_counter()
            try:
                return each(timed, items)
            finally:
                whole = time.perf_counter() - began
                self._add(waiting, whole - sum(worked))
                self._inside[-1] += whole

        return call

    @property
    def _inside(self) -> list[float]:
        """Of this thread: what the stages inside each of those that have begun took; one more for the whole."""
        if not hasattr(self._of_thread, "inside"):
            self._of_thread.inside = [0.0]
        inside: list[float] = self._of_thread.inside
        return inside

    def _counted(self, stage: str, share: float, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        inside = self._inside
        inside.append(0.0)
        began = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            whole = time.perf_counter() - began
            self._add(stage, share * (whole - inside.pop()))
            inside[-1] += whole

    def _add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] += seconds


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
        stack.enter_context(mock.patch.object(evaluate, "each", clock.shared(WAITING, side_by_side.each)))
        yield
