"""Terminals, pipes, log files, notebooks and signals: what surrounds the command."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import arsbench
from arsbench.cli import execute_command
from arsbench.cli.output import console, on_one_line
from arsbench.cli.surroundings import stopped_by_signals
from arsbench.errors import Stopped
from arsbench.running.progress import make_progress
from arsbench.running.status import status

HERE = Path(__file__).parents[1]
DISTURBING = HERE / "disturbing.py"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, finished."""
    folder = tmp_path_factory.mktemp("run") / "run"
    fakes = HERE / "fakes.py"
    arsbench.run(f"{fakes}:Push", f"{fakes}:Mirror", "dropout", "0,5", images=2, out=folder, cache=False)
    return folder


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "arsbench", *map(str, arguments)],
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "utf-8"])
def test_what_the_encoding_lacks_is_replaced(finished, monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert execute_command(["table", "leaderboard", str(finished)]) == 0
    console().print("Zoë ↑ ± \udce9")
    stream.flush()
    assert b"push" in stream.buffer.getvalue()


def test_a_notebooks_backend_is_not_asked_for(finished, tmp_path):
    done = command("plot", "figure5", finished, "--out", tmp_path / "f.png", MPLBACKEND="module://not_installed_here")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "f.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_notebooks_backend_is_not_asked_for_from_python_either(finished, tmp_path):
    code = (
        "import pathlib; from arsbench import reports; from arsbench.running.store import read_rows; "
        f"reports.render_plot('figure5', read_rows({str(finished)!r}), pathlib.Path({str(tmp_path / 'f.png')!r}))"
    )
    environment = {**os.environ, "MPLBACKEND": "module://not_installed_here"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert (tmp_path / "f.png").stat().st_size > 1000


@pytest.mark.skipif(os.name != "posix", reason="needs a shell with pipes")
def test_a_reader_that_leaves_is_no_finding(finished):
    script = f"set -o pipefail; '{sys.executable}' -m arsbench table leaderboard '{finished}' | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert done.returncode in (0, 141)
    assert done.stderr == b""


def test_off_a_terminal_a_table_is_as_wide_as_it_is(finished, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    from arsbench.reports.terminal import leaderboard
    from arsbench.running.store import read_rows

    console().print(leaderboard(read_rows(finished)))
    said = capsys.readouterr().out
    assert "do not fit" not in said
    assert "unrec." in said


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE"])
def test_bars_stay_out_of_log_files(monkeypatch, capfd, name):
    monkeypatch.setenv(name, "1")
    progress = make_progress(True)
    with progress:
        progress.start(10)
        progress.advance(5)
    assert capfd.readouterr().err == ""


def test_a_sentence_stays_on_its_line():
    assert on_one_line("a\nb\x1b[31m\r é") == r"a\nb\x1b[31m\r é"


def test_the_system_stops_a_run_and_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    method, model = f"{DISTURBING}:Terminates", f"{DISTURBING}:Statistics"
    arguments = ["run", "--protector", method, "--manipulator", model, "--perturbation", "none", "--images", "4"]
    assert execute_command([*arguments, "--batch", "1", "--out", "here", "--no-cache"]) == 128 + signal.SIGTERM
    said = "arsbench: stopped by SIGTERM; what was computed is in here, the same command goes on from there"
    assert capsys.readouterr().err.splitlines()[-1] == said
    found = status("here")
    assert (found.state, found.rows) == ("stopped", 2 * 6)


def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stopped_by_signals():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), stopped_by_signals():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", ["Exits", "HardExit"])
def test_a_method_that_exits_is_a_failure_and_a_sentence(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    method, model = f"{DISTURBING}:{name}", f"{DISTURBING}:Statistics"
    arguments = ["run", "--protector", method, "--manipulator", model, "--perturbation", "none", "--images", "2"]
    assert execute_command([*arguments, "--out", "here"]) == 2
    said = capsys.readouterr()
    assert len([line for line in said.err.splitlines() if line.startswith("arsbench: ")]) == 1
    assert "brighten" in said.out
    assert status("here").state == "failed"


def test_what_a_methods_thread_raises_is_a_sentence(tmp_path):
    method = tmp_path / "mine.py"
    method.write_text(
        "import threading\n"
        "from arsbench.contracts import Protector\n"
        "class Mine(Protector):\n"
        "    name = 'mine'\n"
        "    def protect(self, x, keys):\n"
        "        thread = threading.Thread(target=lambda: 1 / 0)\n"
        "        thread.start()\n"
        "        thread.join()\n"
        "        return x\n"
    )
    words = ("--manipulator", f"{HERE / 'fakes.py'}:Mirror", "--level", "0", "--images", "1", "--out", tmp_path / "run")
    done = command("run", "--protector", f"{method}:Mine", *words)
    assert done.returncode == 0
    assert b"a thread that a method started ended with ZeroDivisionError: division by zero" in done.stderr
    assert b"Traceback" not in done.stderr
