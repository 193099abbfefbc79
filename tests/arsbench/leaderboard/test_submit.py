from __future__ import annotations

import json
import subprocess

import pandas as pd
import pytest

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.leaderboard import submit as making
from arsbench.leaderboard.aggregates import aggregates_of, worst_case
from arsbench.leaderboard.entry import read_entry
from arsbench.leaderboard.grid import compute, prepared_for
from arsbench.leaderboard.submit import Submission, open_pull_request, pull_request, submit
from arsbench.running.engines import local


def test_the_aggregates_are_means_at_level_5(made, forge):
    rows = forge(made / "code-entry").rows()
    strongest = rows[rows["level"] == 5]
    entry = read_entry(made / "code-entry")
    assert entry.aggregates["all"]["sr"][0] == pytest.approx(strongest["sr"].mean())
    assert entry.aggregates["simswap"]["lpips"][0] == pytest.approx(
        strongest[strongest["manipulator"] == "simswap"]["lpips"].mean()
    )
    assert entry.aggregates["all"]["amplification"][0] == pytest.approx(strongest["amplification"].median())
    assert "identity_cosine" not in entry.aggregates["all"]


def test_the_worst_case_is_the_least_of_an_image_over_perturbations(made, forge):
    rows = forge(made / "code-entry").rows()
    rows = rows[rows["level"] == 5].reset_index(drop=True)
    rows["sr_strict"] = 1.0
    image = rows["image"].iloc[0]
    one = (rows["image"] == image) & (rows["manipulator"] == "simswap") & (rows["perturbation"] == "jpeg")
    rows.loc[one, "sr_strict"] = 0.0
    assert len(worst_case(rows)) == 4 * 2
    assert aggregates_of(rows)["simswap"]["sr_strict_worst"][0] == 0.5
    assert aggregates_of(rows)["all"]["sr_strict_worst"][0] == 7 / 8


def test_every_cell_has_its_means(made, forge):
    entry, rows = read_entry(made / "code-entry"), forge(made / "code-entry").rows()
    cell = next(c for c in entry.by_cell if (c.manipulator, c.perturbation, c.level) == ("psp-mix", "jpeg", 3))
    own = rows[(rows["manipulator"] == "psp-mix") & (rows["perturbation"] == "jpeg") & (rows["level"] == 3)]
    assert cell.psnr == pytest.approx(own["psnr"].mean())
    assert len(entry.by_cell) == 4 * 31


def test_an_entry_of_pictures_has_no_class_and_no_seconds(made):
    entry = read_entry(made / "pictures-entry")
    assert (entry.method.kind, entry.method.class_, entry.cost.seconds_per_image) == ("pictures", "", None)
    assert sorted(entry.method.files) == ["pictures/open-test-12000.png", "pictures/open-test-12001.png"]


def test_an_entry_says_what_made_it(made):
    entry = read_entry(made / "code-entry")
    assert set(entry.weights_sha256) >= {"manipulator psp-mix", "manipulator styleclip", "lpips"}
    assert entry.versions["torch"]
    assert (entry.epsilon, entry.seed) == (0.3, 0)


GIVEN = {"method": "brighten", "name": "b", "authors": ["A"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a/b"}, "the name 'a/b' cannot be used"),
        ({"authors": []}, "an entry has authors"),
        ({"trained_on": ["jpg"]}, "did you mean jpeg"),
        ({"beside": ["w.npz"]}, "FILE.py:Class"),
    ],
)
def test_what_cannot_be_submitted_is_refused_before_anything_runs(tmp_path, changes, said):
    with pytest.raises(ArsbenchError, match=said):
        submit(Submission(**{**GIVEN, "out": tmp_path / "e", **changes}))


def test_an_entry_is_not_overwritten(tmp_path):
    with pytest.raises(ArsbenchError, match="is there already"):
        submit(Submission(**GIVEN, out=tmp_path))


def test_a_file_elsewhere_is_not_taken_along(tmp_path):
    (tmp_path / "m.py").write_text("")
    (tmp_path / "sub").mkdir()
    weights = tmp_path / "sub" / "w.npz"
    weights.write_bytes(b"")
    given = Submission(f"{tmp_path / 'm.py'}:M", "m", tmp_path / "e", ["A"], beside=[weights])
    with pytest.raises(ArsbenchError, match="does not lie beside"):
        submit(given)


def test_an_interrupted_submission_goes_on_where_it_was(made, monkeypatch, tmp_path):
    # The rows of the first time are kept: the second computes none.
    monkeypatch.chdir(made)
    monkeypatch.setattr("arsbench.running.engines.local.evaluate", None)
    entry = submit(Submission("step.py:Step", "again", tmp_path / "again", ["A. Author"], images=2))
    assert entry.aggregates == read_entry(made / "code-entry").aggregates


def test_the_commands_of_the_pull_request(made, tmp_path, monkeypatch):
    """Against a bare repository in place of GitHub, with a gh that writes down what it is told."""
    entry = read_entry(made / "code-entry")
    checkout, remote = tmp_path / "checkout", tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", remote], check=True)
    subprocess.run(["git", "clone", "-q", remote, checkout], check=True, capture_output=True)
    for key, value in (("user.email", "a@b"), ("user.name", "A")):
        subprocess.run(["git", "-C", checkout, "config", key, value], check=True)
    (checkout / "results").mkdir()
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "gh").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/gh.txt\n')
    (tools / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.chdir(checkout)
    open_pull_request(pull_request(entry, made / "code-entry"))
    pushed = subprocess.run(
        ["git", "--git-dir", remote, "show", "entry-step:results/leaderboard/step/entry.json"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(pushed)["name"] == "step"
    assert (tmp_path / "gh.txt").read_text().startswith("pr create --title Leaderboard entry: step")


def test_outside_a_checkout_no_command_is_run(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArsbenchError, match="at the top of a checkout"):
        open_pull_request([["touch", "ran"]])
    assert not (tmp_path / "ran").exists()


def test_a_control_that_misses_stops_the_submission(made, monkeypatch, tmp_path):
    monkeypatch.chdir(made)
    monkeypatch.setattr(making, "verdict", lambda rows, name: making.Verdict(True, "not deterministic"))
    with pytest.raises(making.VoidRun, match="not deterministic"):
        submit(Submission("step.py:Step", "void", tmp_path / "void", ["A. Author"], images=2))
    assert not (tmp_path / "void").exists()


@pytest.fixture
def run_of_brighten(tmp_path):
    arsbench.run("brighten", "psp-recon", "jpeg", "0,1", images=1, out=tmp_path / "run", cache=False)
    return tmp_path / "run"


def _wanted(cell, _):
    return cell.protector == "brighten" and cell.severity.perturbation in ("none", "jpeg") and cell.severity.level <= 1


def test_rows_of_a_run_are_taken_and_not_computed_again(run_of_brighten, tmp_path, monkeypatch):
    prepared, _ = prepared_for("brighten", "open", 1, manipulator="psp-recon")
    monkeypatch.setattr(local, "evaluate", lambda *_: pytest.fail("a row was computed again"))
    rows, failures = compute(prepared, _wanted, tmp_path / "entry", runs=[run_of_brighten])
    there = arsbench.load_results(run_of_brighten)
    own = there[there["protector"] == "brighten"].reset_index(drop=True)
    assert not failures
    pd.testing.assert_frame_equal(rows[rows["protector"] == "brighten"].reset_index(drop=True), own)


def test_rows_of_other_settings_are_refused(run_of_brighten, tmp_path):
    prepared, _ = prepared_for("brighten", "open", 1, manipulator="simswap")
    with pytest.raises(ArsbenchError, match="no row that would be computed alike today"):
        compute(prepared, _wanted, tmp_path / "entry", runs=[run_of_brighten])
