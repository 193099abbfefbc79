"""The whole sequence, at its smallest, killed on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import arsbench
from arsbench.reports.reproduce import Reproduction, Step, minutes_of, steps
from arsbench.running.progress import NoProgress
from arsbench.running.settings import Settings

COMMAND = ["reproduce", "--protector", "fgsm", "--manipulator", "psp-mix,styleclip", "--images", "2"]


def start(out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "arsbench", *COMMAND, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def parts(out: Path) -> int:
    return len(list(out.glob("runs/*/parts/*.parquet")))


def test_the_sequence_covers_every_table_and_figure_of_the_paper(tmp_path: Path) -> None:
    made = steps(tmp_path, "fgsm")
    assert {kind for step in made for kind in step.tables} == {"leaderboard", "1", "2", "3", "5", "6"}
    assert {kind for step in made for kind in step.plots} == {"figure3", "figure4", "figure5", "pareto", "transfer"}


def test_without_weights_a_finished_run_is_kept_and_any_other_left_out(tmp_path: Path) -> None:
    def left(out: Path) -> bool:
        made = Reproduction(tmp_path)
        step = Step("ablations", Settings("ars_basic", "psp-mix", out=out), optional=True)
        assert minutes_of(step, made, NoProgress()) is None
        return "ablations" in made.skipped

    arsbench.run("none", "psp-mix", level=0, images=1, out=tmp_path / "finished")
    assert not left(tmp_path / "finished")
    assert left(tmp_path / "missing")
    manifest = tmp_path / "finished" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["plan"]["cells"][0]["key"] = "0" * 32  # by other code, as it were
    manifest.write_text(json.dumps(document))
    assert left(tmp_path / "finished")


@pytest.mark.slow
def test_killed_twice_and_started_again_it_leaves_what_one_run_leaves(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole).wait(timeout=900) == 0
    for wanted in (1, 3):
        process = start(broken)
        while parts(broken) < wanted and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(broken).wait(timeout=900) == 0
    runs = sorted(path.parent.name for path in whole.glob("runs/*/manifest.json"))
    assert runs == ["budgets", "robustness", "transfer", "unperturbed"]
    for run in runs:
        a, b = (arsbench.load_results(folder / "runs" / run).drop(columns="seconds") for folder in (whole, broken))
        pd.testing.assert_frame_equal(a, b, rtol=1e-5, atol=1e-5)
    for name in ("table1.md", "table2.md", "table3.tex", "table6.csv"):
        assert (whole / "tables" / name).read_text() == (broken / "tables" / name).read_text()
    document = json.loads((broken / "reproduction.json").read_text())
    assert document["runs"].keys() == set(runs)
    assert "ablations" in document["skipped"] or "ablations" in document["runs"]
    assert all((broken / name).is_file() for name in document["files"])
