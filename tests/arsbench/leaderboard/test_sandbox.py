from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from arsbench.errors import ArsbenchError
from arsbench.leaderboard import sandbox
from arsbench.leaderboard.sandbox import GIB, Limits, run_apart

HOSTILE = Path(__file__).with_name("hostile.py")
FACES = np.full((2, 64, 64, 3), 90, np.uint8)
LIMITS = Limits(seconds=25, memory=3 * GIB, processes=20, disk=GIB // 8)


@pytest.fixture
def given(tmp_path):
    """What a method is given, beside a port that is open and a folder that it may not touch."""
    code = tmp_path / "code"
    code.mkdir()
    shutil.copy(HOSTILE, code)
    home = tmp_path / "someones-home"
    home.mkdir()
    (home / "secret").write_text("the secret")
    (code / "target.txt").write_text(str(home))
    return code


def attempt(code: Path, name: str, limits: Limits = LIMITS):
    request = {
        "readable": [str(code)],
        "who": f"hostile.py:{name}",
        "faces": FACES.tobytes().hex(),
        "size": 64,
        "keys": ["a", "b"],
        "epsilon": 0.3,
        "seed": 0,
        "track": "open",
        "manipulators": ["psp-recon"],
        "cache": str(code),
        "method": f"{code / 'hostile.py'}:{name}",
    }
    with run_apart("protect", request, f"hostile.py:{name}", limits) as apart:
        return np.load(apart.folder / "0.npy", allow_pickle=False), apart


def test_an_honest_method_gives_its_pictures(given):
    pictures, apart = attempt(given, "Harmless")
    assert np.array_equal(pictures, FACES)
    assert not apart.folder.exists()


needs_linux = pytest.mark.skipif(
    set(sandbox.protections()) != {"files", "network", "processes"}, reason="this system lacks a protection"
)


@needs_linux
@pytest.mark.parametrize(
    ("name", "limits", "said"),
    [
        ("Exits", LIMITS, r"hostile.py:Exits wanted to end the process by os._exit\(0\)"),
        ("ExitsBeneathPython", LIMITS, r"ExitsBeneathPython ended by itself \(exit code 0\) before it gave a result"),
        ("LeavesPython", LIMITS, r"hostile.py:LeavesPython wanted to end the process by sys.exit\('no'\)"),
        ("Forks", LIMITS, "hostile.py:Forks started more than 20 processes"),
        ("ForksQuietly", Limits(8, 3 * GIB, 20, GIB), "hostile.py:ForksQuietly (did not end within 8 s|started more)"),
        ("Eats", LIMITS, "hostile.py:Eats asked for more than 3 GiB of memory"),
        ("EatsInChildren", Limits(25, int(1.5 * GIB), 20, GIB), "hostile.py:EatsInChildren (took|asked for) more than"),
        ("Sleeps", Limits(seconds=7), "hostile.py:Sleeps did not end within 7 s"),
        ("Connects", LIMITS, "hostile.py:Connects failed: PermissionError: a method has no network"),
        ("WritesHome", LIMITS, "hostile.py:WritesHome failed: PermissionError.*written-by-a-method"),
        ("ReadsHome", LIMITS, "hostile.py:ReadsHome failed: PermissionError.*secret"),
        ("FillsTheDisk", LIMITS, "hostile.py:FillsTheDisk wrote more than 0.125 GiB"),
    ],
)
def test_a_hostile_method_is_one_sentence_and_leaves_nothing(given, name, limits, said, monkeypatch, tmp_path_factory):
    made_in = str(tmp_path_factory.mktemp("apart"))
    monkeypatch.setattr(tempfile, "tempdir", made_in)  # names the processes of this test, and no one else's
    with pytest.raises(ArsbenchError, match=said):
        attempt(given, name, limits)
    time.sleep(0.2)
    left = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(made_in in argument for argument in process.info["cmdline"] or [])
    ]
    assert left == []
    assert sorted(path.name for path in (given.parent / "someones-home").iterdir()) == ["secret"]


@needs_linux
def test_the_system_refuses_a_connection_that_python_does_not_see(given):
    with socket.create_server(("127.0.0.1", 0)) as server:
        (given / "port.txt").write_text(str(server.getsockname()[1]))
        accepted = threading.Event()
        threading.Thread(target=lambda: (server.accept(), accepted.set()), daemon=True).start()
        with pytest.raises(ArsbenchError, match="refused with error"):
            attempt(given, "ConnectsBeneathPython")
        assert not accepted.is_set()


def test_a_forged_result_without_pictures_is_no_result(given):
    with pytest.raises(OSError, match=r"0\.npy"):
        attempt(given, "Forges")
