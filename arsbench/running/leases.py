"""Who computes which task of a run, told by files in one folder that all workers see.

A lease of a task is the file ``<task>.0``, made exclusively: one worker makes it, the others fail to. Its holder
rewrites it every few seconds. Whoever sees it unchanged for :data:`EXPIRY` seconds of its own monotonic clock, or knows
that its process is gone from this machine, may make ``<task>.1``, again exclusively, and so on: the highest number
holds the task. No two machines' clocks are ever compared, and none that can be set is read. When the task's rows are
stored, its holder makes ``done/<task>`` and then removes the leases; whether the rows are there is looked up in the
rows themselves when the run is finished.

Two workers may still compute one task, where one was only thought dead. Their rows are the same and count once.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from arsbench.running.locks import gone, this_process
from arsbench.running.settings import HUNG_AFTER

EXPIRY = 60.0
"""Seconds without a beat after which a lease counts as left behind."""
BEAT = EXPIRY / 6
"""Seconds between two beats."""
LOOK = EXPIRY / 12
"""Seconds between two looks at a lease that another worker holds."""
TRIES = 3
"""Times that a task is left behind before its rows are given up."""
FREE = b"free"
"""What stands in a lease that was given back before its task was done."""


@dataclass
class Seen:
    """A lease of another worker as it was seen: its number, its content, since when, and when to look again."""

    number: int
    content: bytes
    since: float
    again: float


class Lease:
    """A task that this worker holds."""

    def __init__(self, path: Path, document: dict[str, object], hung_after: float, clock: Callable[[], float]) -> None:
        self._path = path
        self._document = document
        self._hung_after = hung_after
        self._clock = clock
        self._left = threading.Event()
        self.progress()

    def progress(self) -> None:
        """The task goes on: a holder of whom this is not heard for ``hung_after`` seconds beats no more."""
        self._last = self._clock()

    def beat(self, number: int) -> bool:
        """Shows that the holder lives; False where it need not any more."""
        if self._clock() - self._last > self._hung_after or _next(self._path).exists():
            return False
        # Not made anew where another has done the task and removed it; a file system may be away for a moment.
        with contextlib.suppress(OSError), self._path.open("r+b") as file:
            file.write(json.dumps({**self._document, "beat": number}).encode())
        return True

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """In here a thread beats."""

        def go_on() -> None:
            number = 0
            while not self._left.wait(BEAT) and self.beat(number := number + 1):
                pass

        thread = threading.Thread(target=go_on, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._left.set()
            thread.join()

    def give_back(self) -> None:
        """Lets another worker have the task at once."""
        with contextlib.suppress(OSError):
            self._path.write_bytes(FREE)


class Leases:
    """The leases of a run, as one worker sees them.

    Args:
        folder: of the leases; there already.
        worker: a name that no other worker has.
        hung_after: seconds without progress after which the worker beats no more.
        clock: seconds that never go back; only their differences count.
    """

    def __init__(
        self, folder: Path, worker: str, hung_after: float = HUNG_AFTER, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self._done = folder / "done"
        self._done.mkdir(exist_ok=True)
        self.worker = worker
        self.hung_after = hung_after
        self._clock = clock
        self._seen: dict[str, Seen] = {}
        self._document = {"worker": worker, **this_process()}

    def look(self) -> tuple[set[str], dict[str, int]]:
        """The tasks that are done, and of those that are leased the highest number of their leases."""
        held: dict[str, int] = {}
        for name in os.listdir(self.folder):  # noqa: PTH208 - the quickest, and done as often as anything here
            task, _, number = name.rpartition(".")
            if number.isdecimal():
                held[task] = max(held.get(task, 0), int(number))
        return set(os.listdir(self._done)), held  # noqa: PTH208

    def take(self, task: str, number: int | None = None) -> Lease | None:
        """A lease of the task, of which ``number`` is the highest known; ``None`` where another worker has it."""
        if number is not None and not self.left_behind(task, number):
            return None
        path = self._path(task, 0 if number is None else number + 1)
        try:
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return None
        with os.fdopen(file, "wb") as stream:
            stream.write(json.dumps({**self._document, "beat": 0}).encode())
        if (self._done / task).exists():  # since this worker looked
            path.unlink(missing_ok=True)
            return None
        return Lease(path, self._document, self.hung_after, self._clock)

    def done(self, task: str) -> None:
        """The rows of the task are stored."""
        (self._done / task).touch()
        number = 0
        while self._path(task, number).exists():
            self._path(task, number).unlink(missing_ok=True)
            number += 1

    def reopen(self, task: str) -> None:
        """The rows of the task are not there after all: it is to be done again."""
        (self._done / task).unlink(missing_ok=True)

    def left_behind(self, task: str, number: int) -> bool:
        """Whether nobody works under the lease of that number any more, as far as this worker has seen."""
        now, seen = self._clock(), self._seen.get(task)
        if seen is not None and seen.number == number and now < seen.again:
            return False
        content = self._content(task, number)
        if content == FREE or gone(content):
            return True
        if seen is None or (seen.number, seen.content) != (number, content):
            self._seen[task] = Seen(number, content, now, now + LOOK)
            return False
        seen.again = now + LOOK
        return now - seen.since >= EXPIRY

    def losses(self, task: str, number: int) -> int:
        """How often the task was left behind, under the leases up to ``number``."""
        return sum(self._content(task, n) != FREE for n in range(number + 1))

    def holders(self) -> dict[str, tuple[str, int, bool]]:
        """Worker -> a task that it has leased, the number of its lease, and whether another has taken it over."""
        held: dict[str, tuple[str, int, bool]] = {}
        for task, last in self.look()[1].items():
            for number in range(last + 1):
                with contextlib.suppress(ValueError, KeyError):
                    held[json.loads(self._content(task, number))["worker"]] = task, number, number < last
        return held

    def _content(self, task: str, number: int) -> bytes:
        try:
            return self._path(task, number).read_bytes()
        except OSError:
            return b""

    def _path(self, task: str, number: int) -> Path:
        return self.folder / f"{task}.{number}"


def _next(path: Path) -> Path:
    return path.with_suffix(f".{int(path.suffix[1:]) + 1}")
