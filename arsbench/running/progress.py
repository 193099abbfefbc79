"""What a person sees while a run goes on, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


class NoProgress:
    """Shows nothing."""

    def start(self, total: int, done: int = 0, unit: str = "rows") -> None:
        """Begins to count ``unit``, of which ``done`` exist."""

    def advance(self, steps: int = 1, now: str = "") -> None:
        """``steps`` more are done; ``now`` says what is at work."""

    def note(self, sentence: str) -> None:
        """One sentence that the reader should see."""

    def __enter__(self) -> NoProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""


class ProgressBar(NoProgress):
    """A bar with the time left on a terminal; otherwise plain lines."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        self._bar: Progress | None = None
        self._total = self._done = self._first = 0
        self._began = self._said = time.monotonic()
        self._unit = "rows"

    def start(self, total: int, done: int = 0, unit: str = "rows") -> None:
        """Begins to count ``unit``, of which ``done`` exist."""
        self._total, self._done, self._first, self._unit = total, done, done, unit
        self._began = self._said = time.monotonic()
        # Not what rich takes for one: FORCE_COLOR would put bars into log files.
        if sys.stderr is not None and sys.stderr.isatty():
            left = TimeRemainingColumn(elapsed_when_finished=False)
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                "left",
                left,
            )
            self._bar = Progress(*columns, console=self.console, transient=True, speed_estimate_period=120)
            self._task = self._bar.add_task("", total=total, completed=done)
            self._bar.start()

    def advance(self, steps: int = 1, now: str = "") -> None:
        """``steps`` more are done; ``now`` says what is at work."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(self._task, advance=steps, description=now)
        elif time.monotonic() - self._said > LINE_EVERY:
            self._said = time.monotonic()
            new = self._done - self._first
            left = (self._said - self._began) * (self._total - self._done) / max(new, 1)
            print(
                f"{now}: {self._done} of {self._total} {self._unit}, about {_clock(left)} left",
                file=sys.stderr,
                flush=True,
            )

    def note(self, sentence: str) -> None:
        """One sentence that the reader should see."""
        self.console.print(f"arsbench: {sentence}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def make_progress(wanted: bool) -> NoProgress:
    """A bar on stderr, or nothing."""
    return ProgressBar() if wanted else NoProgress()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    return f"{minutes}:{rest:02d}"
