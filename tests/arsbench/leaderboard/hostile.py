"""Methods that a verifier must survive."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time
from pathlib import Path

from arsbench.contracts import Protector


class Harmless(Protector):
    name = "harmless"

    def protect(self, x, keys):
        return x


class Exits(Harmless):
    name = "exits"

    def protect(self, x, keys):
        os._exit(0)


class ExitsBeneathPython(Harmless):
    name = "exits-beneath"

    def protect(self, x, keys):
        ctypes.CDLL(None)._exit(0)


class LeavesPython(Harmless):
    name = "leaves-python"

    def protect(self, x, keys):
        sys.exit("no")


class Forks(Harmless):
    """Every child forks on, too; none of them ends."""

    name = "forks"

    def protect(self, x, keys):
        while True:
            os.fork()


class ForksQuietly(Harmless):
    """Takes no notice of a refusal."""

    name = "forks-quietly"

    def protect(self, x, keys):
        while True:
            try:
                if os.fork() == 0:
                    os.setsid()
            except OSError:
                time.sleep(0.01)


class Eats(Harmless):
    name = "eats"

    def protect(self, x, keys):
        kept = []
        while True:
            kept.append(b"x" * (64 << 20))


class EatsInChildren(Harmless):
    """Each process stays within its own limit."""

    name = "eats-in-children"

    def protect(self, x, keys):
        for _ in range(8):
            if os.fork() == 0:
                kept = [b"x" * (256 << 20)]
                time.sleep(60)
                del kept
        time.sleep(60)
        return x


class Sleeps(Harmless):
    name = "sleeps"

    def protect(self, x, keys):
        time.sleep(10**6)


class Connects(Harmless):
    name = "connects"

    def protect(self, x, keys):
        socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", "9"))), timeout=2)
        return x


class ConnectsBeneathPython(Harmless):
    """No audit hook sees it: the system itself has to refuse."""

    name = "connects-beneath"

    def protect(self, x, keys):
        libc = ctypes.CDLL(None, use_errno=True)
        opened = libc.socket(2, 1, 0)
        port = int((Path(__file__).parent / "port.txt").read_text())
        address = b"\x02\x00" + port.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
        if libc.connect(opened, address, 16) == 0:
            raise RuntimeError("CONNECTED")
        raise RuntimeError(f"refused with error {ctypes.get_errno()}")


class WritesHome(Harmless):
    """Into the home of whoever verifies, and not the empty one that it is given."""

    name = "writes-home"

    def protect(self, x, keys):
        target = Path((Path(__file__).parent / "target.txt").read_text())
        (target / "written-by-a-method").write_text("x")
        return x


class FillsTheDisk(Harmless):
    name = "fills"

    def protect(self, x, keys):
        number = 0
        while True:
            number += 1
            Path(f"fill-{number}").write_bytes(b"x" * (1 << 20))


class ReadsHome(Harmless):
    name = "reads-home"

    def protect(self, x, keys):
        target = Path((Path(__file__).parent / "target.txt").read_text())
        raise RuntimeError((target / "secret").read_text())


class Forges(Harmless):
    """Writes its own result; its pictures are what counts, and they are not there."""

    name = "forges"

    def protect(self, x, keys):
        Path("result.json").write_text('{"name": "forges"}')
        ctypes.CDLL(None)._exit(0)
