"""One writer at a time: the lock of a run's folder, on file systems with locks and without.

Where the system has ``flock``, the kernel gives the lock up however its holder ends. Elsewhere a file names the process
that holds it; it is taken over once that process is gone from this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from pathlib import Path
from typing import IO

from arsbench.errors import ArsbenchError

LOCK = ".lock"
OWNER = ".lock.owner"
PATIENCE = 0.5
"""Seconds to wait for the lock: who asks for a run's status holds it for a moment."""
UNWRITTEN = 60.0
"""Seconds in which the owner's file may still be without its content."""


class Lock:
    """A held lock; given up by :meth:`close`, or by the end of the process."""

    def __init__(self, file: IO[bytes], owner: Path | None) -> None:
        self._file = file
        self._owner = owner

    def close(self) -> None:
        """Lets another process have it."""
        if self._owner is not None:
            with contextlib.suppress(OSError):
                self._owner.unlink()
            self._owner = None
        self._file.close()


def hold(folder: Path) -> Lock:
    """Holds the folder for this process until closed or ended, however it ends.

    Raises:
        ArsbenchError: another process holds it.
    """
    file = (folder / LOCK).open("ab")
    try:
        return Lock(file, None if _flock(file, folder) else _own(folder))
    except BaseException:
        file.close()
        raise


def held(folder: Path) -> bool:
    """Whether a process holds the folder."""
    try:
        import fcntl

        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        pass
    return _alive(folder / OWNER)


def _flock(file: IO[bytes], folder: Path) -> bool:
    """Whether the lock was got from the system; False where it has none."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise ArsbenchError(
                    f"another process is writing into {folder}; wait for it, or give another --out"
                ) from error
            time.sleep(0.02)
        except (ImportError, OSError):  # no such locks on this system, or on this file system
            return False


def _own(folder: Path) -> Path:
    path = folder / OWNER
    document = {"host": platform.node(), "process": os.getpid(), "began": _began(os.getpid())}
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
        document = json.loads(path.read_text())
        host, process, began = document["host"], int(document["process"]), document["began"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime < UNWRITTEN
        return False
    return bool(host != platform.node() or _began(process) == began)


def _began(process: int) -> float | None:
    """When a process of this machine was started; ``None`` where there is none of that number."""
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
