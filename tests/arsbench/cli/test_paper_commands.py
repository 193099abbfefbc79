"""The commands of the paper's evaluation, on a run of two faces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import arsbench
from arsbench.cli import execute_command

FAKES = Path(__file__).parents[1] / "fakes.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arsbench.reports.figures.of_run", lambda rows: [])
        arsbench.run(
            f"{FAKES}:Push",
            [f"{FAKES}:Mirror", f"{FAKES}:Loud"],
            "jpeg",
            "0,5",
            images=2,
            epsilon="0.1,0.3",
            trained_on=[f"{FAKES}:Mirror", f"{FAKES}:Loud"],
            out=folder,
        )
    return folder


def test_compare_paper_for_scripts_has_every_cell_and_finding(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute_command(["compare-paper", str(run), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["cells"]) >= 60
    assert len(document["findings"]) == 10
    assert {finding["verdict"] for finding in document["findings"]} == {"cannot be told"}


@pytest.mark.parametrize("kind", ["2", "3"])
def test_tables_of_budgets_and_transfer_are_printed(kind: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute_command(["table", kind, str(run), "--format", "csv"]) == 0
    header = capsys.readouterr().out.splitlines()[0]
    assert "epsilon" in header
    assert "push" in header


def test_a_budget_that_was_not_run_is_one_sentence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute_command(["table", "leaderboard", str(run), "--epsilon", "0.2"]) == 2
    assert capsys.readouterr().err.strip() == "arsbench: epsilon 0.2 was not run; there are: 0.1, 0.3"


def test_a_dry_run_like_another_counts_its_rows(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "again"
    command = ["run", "--like", str(run / "manifest.json"), "--out", str(out), "--dry-run", "--json"]
    assert execute_command(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["folder"]) == (len(arsbench.load_results(run)), str(out))
    assert not out.exists()
    assert execute_command([*command, "--images", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1


def test_json_without_a_dry_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute_command(["run", "--json"]) == 2
    assert "--dry-run" in capsys.readouterr().err


def test_table_4_shows_what_speed_measured(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute_command(["speed", str(run), "--device", "cpu"]) == 0
    capsys.readouterr()
    assert execute_command(["table", "4", str(run), "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"forward", "backward", "network"} <= set(lines[0].split(","))
    assert sum(",push," in line for line in lines) == 2
