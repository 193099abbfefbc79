"""What a process that runs a stranger's file gives up before it does: called in the process itself.

Each protection is taken where the system has it, and named in what :func:`lock_down` returns. Linux alone has most of
them; nothing here is needed for honest code to run.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import resource
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_NEW_PRIVILEGES, _KEEP_CAPABILITIES, _DEATH_SIGNAL = 38, 8, 1
_RULESET, _RULE, _RESTRICT = 444, 445, 446
"""Landlock's system calls; the numbers are the same on every architecture."""
_READ = 1 | 1 << 2 | 1 << 3
"""Execute, read a file, list a folder."""
_WRITE = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Every right of a file or folder, by the version of Landlock that knows it."""
_FILE_RIGHTS = 1 | 1 << 1 | 1 << 2 | 1 << 14
_CAN_READ_ALL = 1 << 2
"""The capability to read what file modes forbid, all that is left to root: the packages may lie in root's home."""


def lock_down(writable: Path, readable: Iterable[Path], processes: int, memory: int, file_size: int) -> list[str]:
    """Takes from this process what a method has no use for; it cannot be had back.

    Args:
        writable: the one folder that may be written.
        readable: beside the system's, what may be read.
        processes: how many, threads counted.
        memory: bytes of address space.
        file_size: bytes of a file.

    Returns:
        The protections that this system has: ``files``, ``network``, ``processes``.
    """
    taken: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_FSIZE, file_size)
    _limit(resource.RLIMIT_NOFILE, 512)
    if sys.platform != "linux":
        return taken
    libc.prctl(_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.geteuid() == 0 and _is_real_root():
        _become_nobody(libc, writable)
        taken.append("processes")
    _limit(resource.RLIMIT_NPROC, processes + _running_already())
    version = _landlock(libc, writable, readable)
    if version:
        taken.append("files")
    if version >= 4:
        taken.append("network")
    libc.prctl(_DEATH_SIGNAL, 9, 0, 0, 0)
    return taken


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _is_real_root() -> bool:
    """Not the root of a user namespace, to whom the machine's other users do not exist."""
    with contextlib.suppress(OSError):
        return Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]
    return False


def _become_nobody(libc: ctypes.CDLL, writable: Path) -> None:
    """A user of its own, without a name: the limit of processes does not bind root, and nobody's files are root's."""
    user = 1_900_000_000 + int.from_bytes(os.urandom(4), "big") % 100_000_000
    for path in (writable, *writable.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)
    libc.prctl(_KEEP_CAPABILITIES, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    header = struct.pack("=II", 0x20080522, 0)
    sets = struct.pack("=6I", _CAN_READ_ALL, _CAN_READ_ALL, 0, 0, 0, 0)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "the rights of root cannot be given up")


def _running_already() -> int:
    """Tasks of this user, which the limit counts, too."""
    count = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.getuid():
                count += len(list((entry / "task").iterdir()))
    return count


def _landlock(libc: ctypes.CDLL, writable: Path, readable: Iterable[Path]) -> int:
    """Restricts files, and connections where it can; returns the version of Landlock, 0 without it."""
    version = int(libc.syscall(_RULESET, None, ctypes.c_size_t(0), 1))
    if version < 1:
        return 0
    rights = sum(bits for since, bits in _WRITE.items() if version >= since)
    ports = 3 if version >= 4 else 0
    scopes = 3 if version >= 6 else 0
    attributes = struct.pack("=QQQ", rights, ports, scopes)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = int(libc.syscall(_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    if ruleset < 0:
        return 0
    _allow(libc, ruleset, [*readable, *_system()], _READ)
    _allow(libc, ruleset, [Path("/dev/null"), writable], rights)
    libc.prctl(_NEW_PRIVILEGES, 1, 0, 0, 0)
    done = libc.syscall(_RESTRICT, ruleset, 0)
    os.close(ruleset)
    return version if done == 0 else 0


def _allow(libc: ctypes.CDLL, ruleset: int, paths: Sequence[Path], rights: int) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            own = rights if path.is_dir() else rights & _FILE_RIGHTS
            libc.syscall(_RULE, ruleset, 1, struct.pack("=Qi", own, opened), 0)
            os.close(opened)


def _system() -> list[Path]:
    """Where Python, its packages and the system's libraries lie."""
    python = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    packages = {Path(place) for place in sys.path if place and Path(place).is_dir()}
    shared = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev/urandom", "/dev/zero")
    return [*python, *packages, *_methods(), *map(Path, shared)]


def _methods() -> list[Path]:
    """The packages that register methods; they need not lie on the path of packages."""
    found = {Path(__file__).parents[1]}
    for kind in ("protectors", "perturbations", "manipulators"):
        for point in importlib.metadata.entry_points(group=f"arsbench.{kind}"):
            with contextlib.suppress(ImportError, AttributeError, ValueError):
                spec = importlib.util.find_spec(point.module)
                if spec is not None and spec.origin:
                    found.add(Path(spec.origin).parent)
    return sorted(found)
