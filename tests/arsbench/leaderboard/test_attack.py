from __future__ import annotations

import json

import pandas as pd
import pytest

import arsbench
from arsbench.cli import execute_command
from arsbench.contracts import ArsbenchError
from arsbench.leaderboard import table
from arsbench.leaderboard.attack import Challenge, attack
from arsbench.leaderboard.entry import read_entry
from arsbench.leaderboard.ranks import board
from arsbench.leaderboard.removal import known_attacks, read_removal

BLACK = """
import torch
from arsbench.contracts import Perturbation

class Black(Perturbation):
    name = "black"
    levels = (0.2, 0.4, 0.6, 0.8, 1.0)
    def perturb(self, x, parameter, keys):
        return x * (1 - parameter) - parameter
"""
HOME = BLACK.replace("return x", "open('/tmp/arsbench-removal', 'w'); return x")
AUTHORS = {"authors": ["R. Remover"]}


@pytest.fixture(scope="module")
def attacked(made, tmp_path_factory):
    """Two removals that were tried on both entries: a median filter, and one that leaves nothing of a picture."""
    folder = tmp_path_factory.mktemp("removals")
    (folder / "black.py").write_text(BLACK)
    entries = [made / "code-entry", made / "pictures-entry"]
    attack(Challenge("median", "median", folder / "median", entries=entries, **AUTHORS))
    attack(Challenge(f"{folder}/black.py:Black", "black", folder / "black", entries=entries, **AUTHORS))
    return folder


def test_the_rows_are_those_of_a_run_under_the_removal(made, attacked):
    rows = pd.read_parquet(attacked / "median" / "rows.parquet")
    own = rows[rows["protector"] == "step"].sort_values(["manipulator", "image"], ignore_index=True)
    run = arsbench.run(f"{made}/step.py:Step", "all", "median", 5, images=2, cache=False)
    run = run[(run["protector"] == "step") & (run["level"] == 5)]
    run = run.sort_values(["manipulator", "image"], ignore_index=True)
    columns = ["manipulator", "image", "perturbation", "level", "mse", "sr_strict", "lpips", "epsilon"]
    pd.testing.assert_frame_equal(own[columns], run[columns])


def test_a_picture_that_is_gone_protects_nobody(made, attacked):
    entry = read_entry(made / "code-entry")
    known = known_attacks([attacked / "black", attacked / "median"], {made / "code-entry": entry})["step"]
    assert (known.removal, known.authors) == ("black", ("R. Remover",))
    assert known.score[0] == known.worst[0] == 0


def test_the_worst_case_is_over_the_perturbations_and_the_removals(made, attacked):
    entry = read_entry(made / "pictures-entry")
    known = known_attacks([attacked / "median"], {made / "pictures-entry": entry})["elsewhere"]
    both = [made / "pictures-entry" / "rows.parquet", attacked / "median" / "rows.parquet"]
    rows = pd.concat([pd.read_parquet(path).query("level == 5") for path in both])
    rows = rows[rows["image"].str.startswith("open/test/1200") & rows["protector"].isin(["elsewhere", "folder"])]
    least = rows.groupby(["manipulator", "image"])["sr_strict"].min()
    assert known.worst[0] == pytest.approx(least.mean())


def test_the_board_names_the_best_known_attack_and_ranks_without_it(made, attacked):
    entries = [made / "code-entry", made / "pictures-entry"]
    with_, without = board(entries, removals=[attacked / "black"]), board(entries)
    assert [(one.entry.name, one.tier) for one in with_] == [(one.entry.name, one.tier) for one in without]
    assert "black, R. Remover" in table.render(with_, "markdown")
    assert json.loads(table.render(with_, "json"))[0]["best_known_attack"]["removal"] == "black"
    assert "attack" not in table.render(without, "markdown")


def test_a_removal_of_rows_that_changed_since_does_not_count(made, attacked):
    entry = read_entry(made / "code-entry").model_copy(update={"rows_sha256": "0" * 64})
    assert known_attacks([attacked / "black"], {made / "code-entry": entry}) == {}


def test_changed_rows_of_a_removal_are_refused(attacked, tmp_path):
    import shutil

    copy = shutil.copytree(attacked / "black", tmp_path / "black")
    rows = pd.read_parquet(copy / "rows.parquet")
    rows.assign(sr_strict=1.0).to_parquet(copy / "rows.parquet")
    with pytest.raises(ArsbenchError, match="is not the file that"):
        read_removal(copy)


def test_a_strangers_removal_writes_nothing_outside_its_folder(made, tmp_path):
    (tmp_path / "home.py").write_text(HOME)
    given = Challenge(f"{tmp_path}/home.py:Black", "g", tmp_path / "g", entries=[made / "code-entry"], **AUTHORS)
    with pytest.raises(ArsbenchError, match="the removal Black failed: PermissionError"):
        attack(given)
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../up"}, "cannot be used"),
        ({"removal": "medain"}, "did you mean median"),
        ({"entries": []}, "there is no entry of track"),
        ({"authors": []}, "a removal has authors"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_runs(made, tmp_path, changes, said):
    given = {"removal": "median", "name": "m", "entries": [made / "code-entry"], **AUTHORS, "out": tmp_path / "m"}
    with pytest.raises(ArsbenchError, match=said):
        attack(Challenge(**{**given, **changes}))


def test_the_command_says_what_is_left(made, attacked, tmp_path, capsys):
    arguments = ["leaderboard", "attack", "median", "--name", "m", "--author", "A", "--out", str(tmp_path / "m")]
    assert execute_command([*arguments, "--entry", str(made / "pictures-entry"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["elsewhere"]["score"][0] <= 1
