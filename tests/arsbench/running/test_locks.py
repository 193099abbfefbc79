"""One writer at a time, with the system's locks and without."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from arsbench.contracts import ArsbenchError
from arsbench.running import locks
from arsbench.running.locks import held, hold

fcntl = pytest.importorskip("fcntl")


@pytest.fixture(params=["flock", "no flock", "no fcntl"])
def system(request, monkeypatch):
    """A system with such locks, a file system without, and a system that has never heard of them."""
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    if request.param == "no flock":

        def refuse(*_):
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr(fcntl, "flock", refuse)
    if request.param == "no fcntl":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    return request.param


@pytest.mark.usefixtures("system")
def test_a_second_writer_is_refused_until_the_first_has_left(tmp_path):
    lock = hold(tmp_path)
    assert held(tmp_path)
    with pytest.raises(ArsbenchError, match="another process is writing into"):
        hold(tmp_path)
    lock.close()
    assert not held(tmp_path)
    hold(tmp_path).close()


def test_a_lock_of_a_process_that_was_killed_is_taken_over(system, tmp_path):
    without = "" if system == "flock" else "sys.modules['fcntl'] = None\n"
    code = (
        f"import os, sys\nfrom pathlib import Path\nfrom arsbench.running import locks\n{without}"
        f"lock = locks.hold(Path({str(tmp_path)!r}))\nprint('held', flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "held\n"
    assert not held(tmp_path)
    hold(tmp_path).close()


def test_a_holder_on_another_machine_is_believed_and_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    (tmp_path / locks.OWNER).write_text(json.dumps({"host": "elsewhere", "process": os.getpid(), "began": 1.0}))
    assert held(tmp_path)
    with pytest.raises(ArsbenchError, match=rf"number {os.getpid()} on elsewhere.*remove .*{locks.OWNER}"):
        hold(tmp_path)


def test_a_process_number_that_was_given_out_again_is_no_holder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    document = {"host": locks.platform.node(), "process": os.getpid(), "began": 1.0}
    (tmp_path / locks.OWNER).write_text(json.dumps(document))
    hold(tmp_path).close()


@pytest.mark.usefixtures("system")
def test_workers_keep_each_other_company_while_a_run_alone_keeps_them_out(tmp_path):
    alone = hold(tmp_path)
    with pytest.raises(ArsbenchError, match="another process is writing into"):
        hold(tmp_path, shared=True)
    alone.share()
    hold(tmp_path, shared=True).close()
    alone.close()


def test_a_run_alone_waits_for_all_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    first, second = hold(tmp_path, shared=True), hold(tmp_path, shared=True)
    assert held(tmp_path)
    assert not second.alone()
    with pytest.raises(ArsbenchError, match="another process is writing into"):
        hold(tmp_path)
    first.close()
    assert second.alone()
    with pytest.raises(ArsbenchError, match="another process is writing into"):
        hold(tmp_path, shared=True)


def test_a_process_that_was_killed_is_gone_before_its_parent_asks():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    named = json.dumps({"host": locks.platform.node(), "process": process.pid, "began": locks._began(process.pid)})
    assert not locks.gone(named.encode())
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert locks.gone(named.encode())
    process.wait()


def test_a_folder_that_nobody_ever_held_is_not_held(tmp_path):
    assert not held(tmp_path)


def test_asking_does_not_keep_a_writer_out(tmp_path):
    for _ in range(20):
        held(tmp_path)
        hold(tmp_path).close()
