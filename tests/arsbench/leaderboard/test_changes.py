from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arsbench.leaderboard import changes
from arsbench.leaderboard.changes import findings

SCRIPT = Path(__file__).parents[3] / ".ci" / "verify-entries"


@pytest.fixture
def checkout(made, tmp_path):
    """A repository with one entry on its board."""
    shutil.copytree(made / "code-entry", tmp_path / "repository" / "results" / "leaderboard" / "step")
    repository = tmp_path / "repository"
    for command in ("init -q", "config user.email a@b", "config user.name A"):
        subprocess.run(["git", "-C", repository, *command.split()], check=True)
    commit(repository)
    return repository


def commit(repository):
    subprocess.run(["git", "-C", repository, "add", "-A"], check=True)
    subprocess.run(["git", "-C", repository, "commit", "-qm", "x"], check=True)


def entry(repository, name="step"):
    return repository / "results" / "leaderboard" / name


def change(repository, **values):
    path = entry(repository) / "entry.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    commit(repository)


def test_an_added_entry_is_verified(checkout, made):
    shutil.copytree(made / "pictures-entry", entry(checkout, "elsewhere"))
    commit(checkout)
    assert findings(checkout, "HEAD~1", tier=0) == []


def test_an_added_entry_that_is_forged_is_named(checkout, made, forge):
    folder = shutil.copytree(made / "pictures-entry", entry(checkout, "elsewhere"))
    forge(folder).set(epsilon=0.31)
    commit(checkout)
    sentence = findings(checkout, "HEAD~1", tier=0)[0]
    assert sentence.startswith("elsewhere: protocol: expected ")


def test_the_folder_is_called_as_the_entry(checkout, made):
    shutil.copytree(made / "pictures-entry", entry(checkout, "somewhere"))
    commit(checkout)
    assert findings(checkout, "HEAD~1", tier=0) == [
        "somewhere: the entry is called 'elsewhere', its folder 'somewhere'; make them equal"
    ]


def test_an_entry_that_was_there_is_not_edited(checkout):
    change(checkout, authors=["Somebody Else"])
    assert findings(checkout, "HEAD~1") == [
        "step: entry.json was changed; entries are appended, never edited, but for their withdrawal"
    ]


def test_an_entry_is_not_removed(checkout):
    shutil.rmtree(entry(checkout))
    commit(checkout)
    assert {sentence.split(" was ")[0] for sentence in findings(checkout, "HEAD~1")} == {
        "step: entry.json",
        "step: rows.parquet",
        "step: code/step.py",
    }


def test_an_entry_may_be_withdrawn_once(checkout):
    change(checkout, withdrawn={"date": "2026-11-25", "reason": "a mistake"})
    assert findings(checkout, "HEAD~1") == []
    change(checkout, withdrawn=None)
    assert len(findings(checkout, "HEAD~1")) == 1


def test_verifications_are_appended(checkout):
    path = entry(checkout) / "verification.json"
    path.write_text('[{"tier": 1}]')
    commit(checkout)
    path.write_text('[{"tier": 1}, {"tier": 2}]')
    commit(checkout)
    assert findings(checkout, "HEAD~1") == []
    path.write_text('[{"tier": 2}]')
    commit(checkout)
    assert findings(checkout, "HEAD~1") == ["step: verifications are appended, never changed"]


def test_other_changes_are_no_concern(checkout):
    (checkout / "README.md").write_text("x")
    commit(checkout)
    assert findings(checkout, "HEAD~1") == []


def test_the_script_of_the_workflow_exits_with_1_and_names_the_change(checkout):
    change(checkout, epsilon=0.2)
    done = subprocess.run(
        [SCRIPT, checkout, "HEAD~1"], env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("step: entry.json was changed")


@pytest.mark.slow
def test_the_script_of_the_workflow_replays_an_added_entry(checkout, made):
    shutil.copytree(made / "pictures-entry", entry(checkout, "elsewhere"))
    commit(checkout)
    done = subprocess.run(
        [SCRIPT, checkout, "HEAD~1"], env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "elsewhere: verified, tier 1, cells drawn by seed " in done.stdout


def test_the_workflow_calls_the_script():
    workflow = (SCRIPT.parents[1] / ".github" / "workflows" / "verify-entries.yml").read_text()
    assert "trusted/.ci/verify-entries" in workflow
    assert "results/leaderboard/**" in workflow
    assert "results/removals/**" in workflow
    assert changes.BOARD.as_posix() == "results/leaderboard"
    assert changes.REMOVALS.as_posix() == "results/removals"
