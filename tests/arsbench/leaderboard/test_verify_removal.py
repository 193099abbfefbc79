from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arsbench.cards import file_sha256
from arsbench.cli import execute_command
from arsbench.leaderboard import verify
from arsbench.leaderboard.attack import Challenge, attack
from arsbench.leaderboard.changes import findings
from arsbench.leaderboard.entry import read_entry
from arsbench.leaderboard.removal import known_attacks, schema, scores_under
from arsbench.leaderboard.verify_removal import verify_removal
from arsbench.running.store import SCHEMA


@pytest.fixture(scope="module")
def tried(made, tmp_path_factory):
    """A median filter, tried on one entry."""
    out = tmp_path_factory.mktemp("removals") / "median"
    attack(Challenge("median", "median", out, authors=["R. Remover"], entries=[made / "pictures-entry"]))
    return out


@pytest.fixture
def removal(tried, tmp_path):
    return shutil.copytree(tried, tmp_path / "median")


def write(folder, rows=None, **changes):
    """Changes a removal as somebody would who knows how it is verified: hashes follow."""
    if rows is not None:
        pq.write_table(pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False), folder / "rows.parquet")
    document = json.loads((folder / "removal.json").read_text())
    document = {**document, "rows_sha256": file_sha256(folder / "rows.parquet"), **changes}
    (folder / "removal.json").write_text(json.dumps(document))


def failed(folder, made, tier=0):
    found = verify_removal(folder, [made / "pictures-entry", made / "code-entry"], tier, seed=0 if tier == 1 else None)
    assert found.passed == all(check.passed for check in found.checks)
    return [(check.name, check.expected, check.got) for check in found.checks if not check.passed]


def test_what_attack_wrote_verifies_in_every_tier(tried, made):
    for tier in (0, 1, 2):
        assert failed(tried, made, tier) == []
    drawn = verify_removal(tried, [made / "pictures-entry"], 1, seed=3, cells=1)
    assert (drawn.seed, len(drawn.cells), drawn.cells[0].split("/")[0]) == (3, 1, "elsewhere")


def test_the_schema_file_is_that_of_the_type():
    assert json.loads((files("arsbench.leaderboard") / "removal.schema.json").read_text()) == schema()


def test_rows_that_are_not_those_of_the_document(removal, made):
    rows = pd.read_parquet(removal / "rows.parquet")
    rows.assign(sr_strict=1.0).to_parquet(removal / "rows.parquet")
    assert "is not the file that" in failed(removal, made)[0][2]


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda rows: rows.assign(sr_strict=1 - rows["sr_strict"]), "sr_strict"),
        (lambda rows: rows.assign(level=4), "no row elsewhere"),
        (lambda rows: rows.assign(perturbation="blank"), "row elsewhere"),
        (lambda rows: pd.concat([rows.iloc[1:], rows.iloc[1:2]]), "a row elsewhere"),
        (lambda rows: rows.assign(epsilon=0.31), "once, as the entry's"),
        (lambda rows: rows.iloc[1:], "rows"),
    ],
)
def test_rows_that_no_trial_gives(removal, made, forge, said):
    write(removal, forge(pd.read_parquet(removal / "rows.parquet")))
    ((name, expected, got),) = failed(removal, made)
    assert name == "rows"
    assert said in expected + got


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"protocol_hash": "0" * 64}, "protocol"),
        ({"entries": {"elsewhere": "0" * 64}}, "entries"),
        ({"entries": {"nobody": "0" * 64}}, "entries"),
        ({"entries": {}}, "entries"),
        ({"method": {"kind": "code", "class": "Mine", "files": {"code/mine.py": "0" * 64}}}, "hashes"),
        ({"format": 2}, "schema"),
    ],
)
def test_a_document_that_says_something_else(removal, made, changes, name):
    write(removal, **changes)
    assert [found[0] for found in failed(removal, made)] == [name]


def test_a_link_out_of_the_folder(removal, made):
    (removal / "code").symlink_to("/etc")
    assert "symbolic link" in failed(removal, made)[0][2]


def test_rows_that_agree_with_themselves_alone_are_found_by_tier_1(removal, made):
    rows = pd.read_parquet(removal / "rows.parquet")
    write(removal, rows.assign(mse=0.0, psnr=80.0, sr=0.0, sr_strict=0.0))
    assert failed(removal, made) == []
    assert failed(removal, made, 1)[0][0].startswith("replay elsewhere/")


def test_a_removal_whose_last_verification_failed_does_not_count(removal, made):
    entries = {made / "pictures-entry": read_entry(made / "pictures-entry")}
    assert set(known_attacks([removal], entries)) == {"elsewhere"}
    write(removal, protocol_hash="0" * 64)
    verify.record(removal, verify_removal(removal, list(entries), 0))
    write(removal, protocol_hash=entries[made / "pictures-entry"].protocol_hash)
    assert known_attacks([removal], entries) == {}


def test_a_perturbation_of_the_board_that_leaves_less_is_the_best_known_attack(removal, pictures_entry):
    path, own = pictures_entry / "rows.parquet", pd.read_parquet(removal / "rows.parquet")
    rows = pd.read_parquet(path)
    rows.assign(sr_strict=(rows["perturbation"] != "jpeg").astype(float)).to_parquet(path)
    found = []
    for left in (1.0, 0.0):
        write(removal, own.assign(sr_strict=left))
        found.append(known_attacks([removal], {pictures_entry: read_entry(pictures_entry)})["elsewhere"])
    assert [(one.removal, one.authors) for one in found] == [("jpeg", ("the protocol",)), ("median", ("R. Remover",))]
    assert [one.score[0] for one in found] == [one.worst[0] for one in found] == [0, 0]
    assert scores_under(removal) == {"elsewhere": [0, 0, 0]}


def test_the_command_verifies_a_removal_as_it_does_an_entry(removal, made, capsys):
    command = ["leaderboard", "verify", str(removal), "--tier", "0", "--entries", str(made)]
    assert execute_command(command) == 0
    assert "✓ rows: rows of 1 entries" in capsys.readouterr().out
    write(removal, protocol_hash="0" * 64)
    assert execute_command(command) == 1
    assert "✗ protocol: expected protocol" in capsys.readouterr().out


def test_an_added_removal_is_verified_and_one_that_was_there_is_not_edited(removal, made, tmp_path):
    repository = tmp_path / "repository"
    shutil.copytree(made / "pictures-entry", repository / "results" / "leaderboard" / "elsewhere")
    commit(repository, "init -q")
    place = repository / "results" / "removals" / "median"
    shutil.copytree(removal, place)
    commit(repository)
    assert findings(repository, "HEAD~1", tier=0) == []
    write(place, authors=["Somebody Else"])
    commit(repository)
    assert findings(repository, "HEAD~1") == ["median: removal.json was changed; removals are appended, never edited"]
    shutil.copytree(removal, place.with_name("mean"))
    commit(repository)
    assert findings(repository, "HEAD~1", tier=0) == [
        "mean: the removal is called 'median', its folder 'mean'; make them equal"
    ]


def commit(repository: Path, first: str = "") -> None:
    names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for command in filter(None, (first, "add -A", "commit -qm x")):
        subprocess.run(["git", "-C", repository, *command.split()], check=True, env={**os.environ, **names})
