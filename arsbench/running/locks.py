"""One run, or the workers of one run, at a time: the lock of a folder, on file systems with locks and without.

Where the system has ``flock``, the kernel gives the lock up however its holder ends. Elsewhere a file names the process
that holds it alone; it is taken over once that process is gone from this machine. Workers then leave no trace in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from arsbench.errors import ArsbenchError

LOCK = ".lock"
OWNER = ".lock.owner"
PATIENCE = 0.5
"""Seconds to wait for the lock: who asks for a run's status holds it for a moment."""
UNWRITTEN = 60.0
"""Seconds in which the owner's file may still be without its content."""


class Lock:
    """A held lock; given up by :meth:`close`, or by the end of the process."""

    def __init__(self, file: IO[bytes], folder: Path, shared: bool) -> None:
        self._file = file
        self._folder = folder
        self._owner: Path | None = None
        if not _flock(file, folder, shared):
            if not shared:
                self._owner = _own(folder)
            elif _alive(folder / OWNER):
                raise _held_by_another(folder)

    def share(self) -> None:
        """Lets other workers in."""
        self._disown()
        _flock(self._file, self._folder, shared=True)

    def alone(self) -> bool:
        """Whether no other worker is here; none comes in then. If one is, this one's share is gone.

        Where the system has no ``flock``, that is never known.
        """
        with contextlib.suppress(ArsbenchError):
            return _flock(self._file, self._folder, shared=False)
        return False

    def close(self) -> None:
        """Lets another process have it."""
        self._disown()
        self._file.close()

    def _disown(self) -> None:
        if self._owner is not None:
            with contextlib.suppress(OSError):
                self._owner.unlink()
            self._owner = None


def hold(folder: Path, shared: bool = False) -> Lock:
    """Holds the folder for this process until closed or ended, however it ends.

    Args:
        folder: is there.
        shared: together with others who share it; else alone.

    Raises:
        ArsbenchError: another process holds it.
    """
    file = (folder / LOCK).open("a+b")
    try:
        return Lock(file, folder, shared)
    except BaseException:
        file.close()
        raise


def held(folder: Path) -> bool:
    """Whether a process holds the folder, alone or with others."""
    try:
        with contextlib.suppress(OSError), (folder / LOCK).open("rb") as file:
            _flock(file, folder, shared=False, patience=PATIENCE / 10)  # another may be asking
    except ArsbenchError:
        return True
    return _alive(folder / OWNER)


def _held_by_another(folder: Path) -> ArsbenchError:
    return ArsbenchError(f"another process is writing into {folder}; wait for it, or give another --out")


def _flock(file: IO[bytes], folder: Path, shared: bool, patience: float | None = None) -> bool:
    """Whether the lock was got from the system; False where it has none."""
    until = time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        try:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise _held_by_another(folder) from error
            time.sleep(0.02)
        except (ImportError, OSError):  # no such locks on this system, or on this file system
            return False


def _own(folder: Path) -> Path:
    path = folder / OWNER
    document = this_process()
    for _ in range(2):
        try:
            with path.open("x") as file:
                json.dump(document, file)
            return path
        except FileExistsError:
            if _alive(path):
                break
            path.unlink(missing_ok=True)
    raise ArsbenchError(
        f"another process is writing into {folder}, {_said(path)}; wait for it, or give another --out; if it is gone, "
        f"remove {path}"
    )


def _alive(path: Path) -> bool:
    """Whether the process that the file names still runs; that of another machine may."""
    try:
        named = _named(path.read_bytes())
    except FileNotFoundError:
        return False
    except OSError:
        named = None
    if named is None:
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime < UNWRITTEN
        return False
    return not _ended(named)


def this_process() -> dict[str, object]:
    """What names this process among those of all machines, now and later."""
    return {"host": platform.node(), "process": os.getpid(), "began": _began(os.getpid())}


def gone(document: bytes) -> bool:
    """Whether a file's content names a process, as :func:`this_process` does, of this machine that has ended."""
    named = _named(document)
    return named is not None and _ended(named)


def _named(document: bytes) -> Mapping[str, Any] | None:
    try:
        named = json.loads(document)
        return {**named, "process": int(named["process"]), "host": named["host"], "began": named["began"]}
    except (ValueError, KeyError, TypeError):
        return None


def _ended(named: Mapping[str, Any]) -> bool:
    return bool(named["host"] == platform.node() and _began(named["process"]) != named["began"])


def _began(process: int) -> float | None:
    """When a process of this machine was started; ``None`` where there is none of that number."""
    with contextlib.suppress(OSError):  # Linux: ticks since the machine's start, which no clock that is set changes
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else float(fields[19])  # Z: ended, and its parent has not asked yet
    import psutil

    try:
        return round(float(psutil.Process(process).create_time()), 2)
    except psutil.Error:
        return None


def _said(path: Path) -> str:
    try:
        document = json.loads(path.read_text())
        return f"number {document['process']} on {document['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "which has just begun"
