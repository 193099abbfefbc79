"""Workers of one run: the rows are those of one process, to the last bit, whoever is killed or hangs."""

from __future__ import annotations

import functools
import importlib.util
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch

from arsbench.contracts import ArsbenchError
from arsbench.running.engines.crew import threads
from arsbench.running.engines.processes import surroundings_of
from arsbench.running.execute import execute, lay_out
from arsbench.running.progress import NoProgress
from arsbench.running.settings import Settings
from arsbench.running.status import status
from arsbench.running.store import read_rows
from arsbench.running.work import work_on

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'arsbench[ray]'"
)

FAULTY = """
import os, time
from pathlib import Path
from arsbench.contracts import Manipulator

class Faulty(Manipulator):
    name = "faulty"
    def manipulate(self, x, keys):
        for key in keys:
            if key.endswith("12002") and ({always} or not Path({marker!r}).exists()):
                Path({marker!r}).touch()
                {fault}
        time.sleep(0.01)
        return 0.5 * x.flip(-1)
"""
KILLED = "os.kill(os.getpid(), 9)"
HANGS = "time.sleep(600)"


@pytest.fixture(autouse=True)
def threads_of_a_worker(monkeypatch):
    """This process has the threads of one of two workers: the last bits of a convolution depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads(2))
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads(2)))  # of the processes that a test starts
    yield
    torch.set_num_threads(before)


@pytest.fixture
def settings(fake):
    return Settings(
        protector=fake("Push"),
        manipulator=[fake("Mirror"), fake("Slow")],
        perturbation="none",
        images=6,
        batch=2,
        cache=False,
    )


@pytest.fixture
def faulty(settings, tmp_path):
    """Settings with a manipulator that has a fault at one image, once or always."""

    def make(fault, always=False):
        path = tmp_path / "faulty.py"
        path.write_text(FAULTY.format(fault=fault, marker=str(tmp_path / "marker"), always=always))
        return replace(settings, manipulator=[f"{path}:Faulty", settings.manipulator[0]])

    return make


@functools.cache
def alone(*given):
    return execute(Settings(**dict(given))).rows


def assert_same(rows, settings):
    """Bitwise the rows that one process gives, but for the seconds that protecting took."""
    given = {**vars(settings), "workers": 1, "engine": "local", "out": None, "manipulator": tuple(settings.manipulator)}
    pd.testing.assert_frame_equal(
        rows.drop(columns="seconds"), alone(*given.items()).drop(columns="seconds"), check_exact=True
    )


class Said(NoProgress):
    def __init__(self):
        self.notes = []

    def note(self, sentence):
        self.notes.append(sentence)


def work_in_a_process(folder, *given):
    code = f"from arsbench.running.work import work_on; work_on({str(folder)!r}, *{given!r})"
    return subprocess.Popen([sys.executable, "-c", code])


def test_two_workers_give_the_rows_of_one_process(settings, tmp_path):
    outcome = execute(replace(settings, out=tmp_path / "run", workers=2))
    assert_same(outcome.rows, settings)
    assert_same(read_rows(tmp_path / "run"), settings)
    assert status(tmp_path / "run").state == "finished"
    assert not (tmp_path / "run" / "work").exists()


def test_a_worker_in_this_process_does_what_was_laid_out(settings, tmp_path):
    folder, _ = lay_out(replace(settings, out=tmp_path / "run"))
    assert status(folder).state == "planned"
    assert work_on(folder, "1/2") is None
    assert status(folder).state == "planned"
    assert_same(work_on(folder, "2/2").rows, settings)
    assert status(folder).state == "finished"


def test_a_run_goes_on_with_another_engine(settings, tmp_path):
    out = tmp_path / "run"
    folder, _ = lay_out(replace(settings, out=out))
    work_on(folder, "1/2")
    parts = set((out / "parts").iterdir())
    assert_same(execute(replace(settings, out=out)).rows, settings)
    assert parts < set((out / "parts").iterdir())


def test_a_part_that_is_damaged_is_done_again_before_the_run_is_finished(settings, tmp_path):
    folder, _ = lay_out(replace(settings, out=tmp_path / "run"))
    work_on(folder, "1/2")
    next((folder / "parts").iterdir()).write_bytes(b"PAR1 but not really")
    assert_same(work_on(folder).rows, settings)


def test_failures_that_workers_met_stand_in_the_manifest(settings, fake, tmp_path):
    folder, _ = lay_out(replace(settings, protector=fake("FailsLate"), out=tmp_path / "run"))
    assert work_on(folder, "1/2") is None
    outcome = work_on(folder, "2/2")
    assert {failure.protector for failure in outcome.failures} == {"late"}
    found = status(folder)
    assert (found.state, found.failed, found.missing) == ("failed", 2, 0)


def test_a_worker_that_would_compute_another_run_is_refused(settings, tmp_path):
    folder, _ = lay_out(replace(settings, out=tmp_path / "run"))
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["plan"]["key"] = "of other code"
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArsbenchError, match=r"this worker would compute another run.*code or weights have changed"):
        work_on(folder)


def test_a_run_that_was_not_laid_out_takes_no_worker(settings, tmp_path):
    execute(replace(settings, images=2, out=tmp_path / "run"))
    with pytest.raises(ArsbenchError, match="not laid out for workers; do so with: arsbench run --plan-only"):
        work_on(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"workers": 2}, "give out, the run's folder"),
        ({"engine": "spark"}, "engine 'spark'"),
        ({"address": "auto"}, "give --engine ray"),
        ({"hung_after": 0}, "hung-after is 0"),
    ],
)
def test_workers_that_cannot_be_had_are_one_sentence(settings, changes, sentence):
    with pytest.raises(ArsbenchError, match=sentence):
        execute(replace(settings, **changes))


def test_without_ray_one_sentence_says_how_to_get_it(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArsbenchError, match=r"pip install 'arsbench\[ray\]'"):
        execute(replace(settings, engine="ray", out=tmp_path / "run"))


def test_each_worker_sees_one_of_the_gpus_that_the_run_may_use(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [surroundings_of(i, 3, "cuda")["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["2", "5", "2"]
    assert surroundings_of(0, 3, "cpu") == {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}


@pytest.mark.slow
def test_a_worker_that_was_killed_is_replaced_and_nothing_is_lost(faulty, tmp_path):
    settings, said = faulty(KILLED), Said()
    outcome = execute(replace(settings, out=tmp_path / "run", workers=2), said)
    assert "a worker ended: by signal 9; another one takes its place" in said.notes
    assert_same(outcome.rows, settings)


@pytest.mark.slow
def test_a_task_that_ends_every_worker_is_given_up_and_the_others_finish(faulty, tmp_path):
    settings = faulty(KILLED, always=True)
    outcome = execute(replace(settings, out=tmp_path / "run", workers=2))
    assert [failure.manipulator for failure in outcome.failures] == ["faulty"]
    assert "3 workers ended or hung at manipulator 'faulty' and images" in outcome.failures[0].sentence
    assert set(outcome.rows.manipulator) == {"mirror"}
    assert len(outcome.rows) == 6 * 6


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced_and_nothing_is_lost(faulty, tmp_path):
    settings, said = faulty(HANGS), Said()
    outcome = execute(replace(settings, out=tmp_path / "run", workers=2, hung_after=20), said)
    assert any("no sign of progress for 20 seconds" in note for note in said.notes)
    assert_same(outcome.rows, settings)


@pytest.mark.slow
def test_shells_give_the_rows_of_one_process_though_one_is_killed(settings, tmp_path):
    settings = replace(settings, images=24)
    folder, _ = lay_out(replace(settings, out=tmp_path / "run"))
    first, second = work_in_a_process(folder), work_in_a_process(folder)
    while first.poll() is None and not any((folder / "parts").glob("*.parquet")):
        time.sleep(0.01)
    assert status(folder).state == "running"
    first.send_signal(signal.SIGKILL)
    assert second.wait(600) == 0
    first.wait()
    assert_same(read_rows(folder), settings)
    assert status(folder).state == "finished"


@pytest.mark.slow
def test_workers_end_with_their_run(settings, tmp_path):
    code = (
        "from arsbench.running.execute import execute; from arsbench.running.settings import Settings; "
        f"execute(Settings(**{vars(replace(settings, images=64, out=str(tmp_path / 'run'), workers=2))!r}))"
    )
    run = subprocess.Popen([sys.executable, "-c", code])
    while run.poll() is None and not any((tmp_path / "run").glob("parts/*.parquet")):
        time.sleep(0.01)
    run.kill()
    run.wait()
    until = time.monotonic() + 60
    while status(tmp_path / "run").state == "running" and time.monotonic() < until:
        time.sleep(0.2)
    assert status(tmp_path / "run").state == "stopped"


@needs_ray
@pytest.mark.slow
def test_actors_of_ray_give_the_rows_of_one_process_though_one_is_killed(faulty, tmp_path):
    settings, said = faulty(KILLED), Said()
    outcome = execute(replace(settings, out=tmp_path / "run", workers=2, engine="ray"), said)
    assert "a worker ended: its Ray actor is gone; another one takes its place" in said.notes
    assert_same(outcome.rows, settings)
