"""Runs a stranger's file apart: in a process of its own, with limits, watched, and stopped with all that it started.

What this does not protect from stands in docs/submit.md.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from arsbench.errors import ArsbenchError

REQUEST, RESULT, HOME, TEMPORARY, ERRORS = "request.json", "result.json", "home", "tmp", "errors.txt"
LOOK_EVERY = 0.05
"""Seconds between two looks at what runs apart."""
LARGEST_RESULT = 1_000_000
GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """What may be used.

    Attributes:
        seconds: on the wall.
        memory: bytes, of all its processes together; address space of each.
        processes: how many it may start, threads counted.
        disk: bytes in its folder.
    """

    seconds: float = 600
    memory: int = 6 * GIB
    processes: int = 64
    disk: int = 2 * GIB


@dataclass(frozen=True)
class Apart:
    """What a process that ran apart left.

    Attributes:
        result: what it said.
        folder: its folder; files in it are a stranger's.
        protections: what the system had: ``files``, ``network``, ``processes``.
    """

    result: dict[str, Any]
    folder: Path
    protections: tuple[str, ...]


@contextlib.contextmanager
def run_apart(task: str, request: Mapping[str, Any], who: str, limits: Limits | None = None) -> Iterator[Apart]:
    """Runs a task of :mod:`arsbench.leaderboard.apart` and yields what it left; its folder is removed afterwards.

    Args:
        task: its name.
        request: what it is given; paths in ``readable`` may be read.
        who: for sentences, for example ``the method code/mine.py``.
        limits: what may be used.

    Raises:
        ArsbenchError: it failed, ended without a result, or was stopped; one sentence.
    """
    limits = limits or Limits()
    folder = Path(tempfile.mkdtemp(prefix="arsbench-apart-"))
    try:
        for name in (HOME, TEMPORARY):
            (folder / name).mkdir()
        (folder / REQUEST).write_text(json.dumps({**request, "task": task, "limits": vars(limits)}))
        stopped, code = _watched(folder, limits)
        result = _result(folder)
        if stopped:
            raise ArsbenchError(f"{who} {stopped} and was stopped")
        if result is None:
            raise ArsbenchError(f"{who} {_ending(code)} before it gave a result")
        if "error" in result:
            raise ArsbenchError(str(result["error"])[:1000])
        protections = tuple(str(name) for name in result.get("protections", ()))
        yield Apart(result, folder, tuple(dict.fromkeys((*_namespaces()[1], *protections))))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def protections() -> tuple[str, ...]:
    """What this system can keep from a stranger's file: some of ``files``, ``network``, ``processes``."""
    with run_apart("nothing", {}, "the trial") as apart:
        return apart.protections


# --- the process ----------------------------------------------------------------------------------------------------

_NAMESPACES = (
    (("--net", "--pid", "--fork", "--kill-child", "--mount-proc"), ("network", "processes")),
    (
        ("--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
        ("network", "processes"),
    ),
    (("--user", "--map-root-user", "--net"), ("network",)),
)


@functools.cache
def _namespaces() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The command that gives a process no network and processes of its own, and what it protects; empty without."""
    tool = shutil.which("unshare")
    for options, gives in _NAMESPACES if tool else ():
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            if subprocess.run([str(tool), *options, "true"], capture_output=True, timeout=10).returncode == 0:
                return (str(tool), *options), gives
    return (), ()


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    home = str(folder / HOME)
    return {**kept, **threads, "HOME": home, "XDG_CACHE_HOME": home, "TMPDIR": str(folder / TEMPORARY)}


def _watched(folder: Path, limits: Limits) -> tuple[str, int]:
    """Runs the process; why it was stopped, if it was, and how it ended."""
    command = [*_namespaces()[0], sys.executable, "-I", "-B", "-m", "arsbench.leaderboard.apart", str(folder)]
    with (folder / ERRORS).open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    began, stopped = time.monotonic(), ""
    try:
        while process.poll() is None and not stopped:
            stopped = _too_much(process.pid, folder, limits, time.monotonic() - began)
            time.sleep(LOOK_EVERY)
    finally:
        _end(process)
    return stopped, process.returncode


def _too_much(pid: int, folder: Path, limits: Limits, seconds: float) -> str:
    """Which limit was passed, in words, or nothing."""
    if seconds > limits.seconds:
        return f"did not end within {limits.seconds:g} s"
    family = _family(pid)
    # What forked processes share counts once, which takes longer to find out.
    if _memory(family, "rss") > limits.memory and _memory(family, "pss") > limits.memory:
        return f"took more than {limits.memory / GIB:.3g} GiB of memory"
    if len(family) > limits.processes:
        return f"started more than {limits.processes} processes"
    if _size(folder) > limits.disk:
        return f"wrote more than {limits.disk / GIB:.3g} GiB"
    return ""


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def _memory(family: list[psutil.Process], measure: str) -> int:
    used = 0
    for process in family:
        with contextlib.suppress(psutil.Error):
            info = process.memory_info() if measure == "rss" else process.memory_full_info()
            used += getattr(info, measure, info.rss)
    return used


def _size(folder: Path) -> int:
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += Path(place, name).lstat().st_size
    return size


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process, its group and all that it started. Whatever has left the group dies with its namespace."""
    family = _family(process.pid)
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    process.wait()


def _result(folder: Path) -> dict[str, Any] | None:
    path = folder / RESULT
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST_RESULT:
            return None
        result = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) else None


def _ending(code: int) -> str:
    number = -code if code < 0 else code - 128
    if number == signal.SIGXCPU:
        return "used up its CPU time"
    if code < 0 or 0 < number < 65:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(number).name}"
    return f"ended by itself (exit code {code})"
