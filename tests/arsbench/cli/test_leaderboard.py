from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from arsbench.cli import execute_command


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = execute_command([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run


def test_a_new_protector_passes_its_check_as_it_is(run):
    code, out, _ = run("new", "protector", "my-first")
    assert (code, out) == (0, "my_first.py; next: arsbench check my_first.py:MyFirst\n")
    code, out, _ = run("check", "my_first.py:MyFirst", "--no-grid", "--json")
    report = json.loads(out)
    assert (code, report["passed"], report["findings"]) == (0, True, [])
    code, _, err = run("new", "protector", "my-first")
    assert code == 2
    assert "is there already" in err


@pytest.mark.parametrize("name", ["../x", "7x", "-", "a b"])
def test_a_name_that_no_protector_can_have(run, name):
    code, _, err = run("new", "protector", "--", name)
    assert code == 2
    assert "cannot be used" in err


def test_a_check_that_finds_an_error_exits_with_1(run, tmp_path):
    (tmp_path / "m.py").write_text(
        "from arsbench.contracts import Protector\nclass M(Protector):\n    name = 'm'\n"
        "    def protect(self, x, keys):\n        return x + 1\n"
    )
    code, out, _ = run("check", "m.py:M")
    assert code == 1
    assert "error: budget: The change is larger than epsilon." in out
    assert "raised if: On the delivered (8 bit) picture" in out


def test_faces_are_exported(run, tmp_path):
    code, out, _ = run("faces", "export", "faces", "--images", 2)
    assert (code, out) == (0, "2 faces: faces\n")
    assert len(list((tmp_path / "faces").glob("*.png"))) == 2


def test_a_folder_without_entries_is_one_sentence(run):
    code, out, err = run("leaderboard", "show", "nowhere")
    assert (code, out) == (2, "")
    assert "there are no entries in nowhere" in err


def test_an_entry_that_is_none_exits_with_1(run, tmp_path):
    (tmp_path / "entry").mkdir()
    code, out, _ = run("leaderboard", "verify", "entry", "--tier", 0)
    assert code == 1
    assert "✗ schema: expected a file that can be used, got entry/entry.json is not there" in out
    code, out, _ = run("leaderboard", "verify", "entry", "--tier", 0, "--json")
    assert code == 1
    assert json.loads(out)["passed"] is False


@pytest.mark.parametrize(
    "command", ["new protector", "check", "submit", "leaderboard show", "leaderboard verify", "faces export"]
)
def test_each_command_has_help_with_an_example(command):
    from arsbench.cli import commands

    text = CliRunner().invoke(commands, [*command.split(), "--help"]).output
    assert "Example:  arsbench" in text


@pytest.mark.slow
def test_from_an_empty_folder_to_a_verified_entry_on_the_board(run):
    assert run("new", "protector", "mine")[0] == 0
    code, out, _ = run(
        "submit", "mine.py:Mine", "--name", "mine", "--author", "A. Author", "--images", 2, "--out", "board/mine"
    )
    assert code == 0
    assert "sr_strict " in out
    assert "git add results/leaderboard/mine" in out
    code, out, _ = run("leaderboard", "verify", "board/mine", "--tier", 1, "--record")
    assert code == 0
    assert "✓ aggregates" in out
    assert "verified: tier 1, cells drawn by seed " in out
    code, out, _ = run("leaderboard", "show", "board", "--json")
    (entry,) = json.loads(out)
    assert (entry["name"], entry["verified"]["tier"]) == ("mine", 1)
    code, out, _ = run("leaderboard", "show", "board")
    assert "seconds" in out  # off a terminal every column is there, however wide that is
    assert "do not fit" not in out
