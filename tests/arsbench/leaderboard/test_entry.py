from __future__ import annotations

import json
from importlib.resources import files

import pytest

from arsbench.errors import ArsbenchError
from arsbench.leaderboard.entry import (
    ENTRY,
    Entry,
    Verification,
    read_entry,
    read_verifications,
    schema,
    write_entry,
    write_verifications,
)

DOCUMENT = {
    "format": 1,
    "name": "mine",
    "authors": ["A. Author"],
    "paper": "",
    "code": "",
    "licence": "MIT",
    "method": {"kind": "code", "class": "Mine", "files": {"code/mine.py": "0" * 64}},
    "trained_on": [],
    "track": "open",
    "epsilon": 0.3,
    "seed": 0,
    "images": 100,
    "protocol_hash": "a" * 64,
    "versions": {"torch": "2.6.0"},
    "revision": None,
    "rows_sha256": "b" * 64,
    "weights_sha256": {"manipulator psp-mix": "c" * 64},
    "aggregates": {"all": {"sr_strict": [0.5, 0.4, 0.6]}},
    "by_cell": [],
    "cost": {"seconds_per_image": 0.1, "hardware": "cpu"},
    "flags": [],
    "submitted": "2026-11-25",
    "withdrawn": None,
}


def write(folder, **changes):
    (folder / ENTRY).write_text(json.dumps({**DOCUMENT, **changes}))
    return folder


def test_an_entry_is_read_back_as_it_was_written(tmp_path):
    entry = read_entry(write(tmp_path))
    write_entry(tmp_path, entry)
    assert read_entry(tmp_path) == entry
    assert json.loads((tmp_path / ENTRY).read_text()) == DOCUMENT


def test_the_schema_file_is_that_of_the_type():
    written = json.loads((files("arsbench.leaderboard") / "entry.schema.json").read_text())
    assert written == schema()
    assert set(written["required"]) == set(DOCUMENT)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "format"),
        ({"name": "../mine"}, "name"),
        ({"name": "a\\b"}, "name"),
        ({"authors": []}, "authors"),
        ({"epsilon": "0.3"}, "epsilon"),
        ({"images": True}, "images"),
        ({"surprise": 1}, "surprise"),
        ({"method": {**DOCUMENT["method"], "files": {"code/../../x.py": "0" * 64}}}, "method.files"),
        ({"method": {**DOCUMENT["method"], "files": {"/etc/passwd": "0" * 64}}}, "method.files"),
        ({"method": {**DOCUMENT["method"], "class": "os.system"}}, "method.class"),
        ({"aggregates": {"all": {"sr_strict": [0.5, 0.4]}}}, "aggregates.all.sr_strict"),
        ({"flags": [{"name": "x", "level": "note", "what": ""}]}, "flags.0.level"),
    ],
)
def test_what_is_not_of_the_schema_is_refused_by_its_place(tmp_path, changes, said):
    with pytest.raises(ArsbenchError, match=said):
        read_entry(write(tmp_path, **changes))


def test_nan_is_refused(tmp_path):
    with pytest.raises(ArsbenchError, match="epsilon"):
        read_entry(write(tmp_path, epsilon=float("nan")))


def test_a_json_a_thousand_levels_deep_is_one_sentence(tmp_path):
    (tmp_path / ENTRY).write_text("[" * 1000 + "]" * 1000)
    with pytest.raises(ArsbenchError, match="recursion"):
        read_entry(tmp_path)


def test_a_json_of_a_gigabyte_is_refused_unread(tmp_path):
    with (tmp_path / ENTRY).open("wb") as file:
        file.truncate(1_000_000_000)
    with pytest.raises(ArsbenchError, match="1000000000 bytes"):
        read_entry(tmp_path)


def test_a_link_in_place_of_the_entry_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / ENTRY).rename(tmp_path / "elsewhere.json")
    (tmp_path / ENTRY).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ArsbenchError, match="plain file"):
        read_entry(tmp_path)


def test_the_types_say_what_each_field_is():
    described = Entry.model_json_schema()["properties"]
    assert "budget" in described["epsilon"]["description"]


def test_verifications_are_a_list_and_read_back(tmp_path):
    assert read_verifications(tmp_path) == []
    check = {"name": "hashes", "passed": True, "expected": "a", "got": "a"}
    document = {"tier": 1, "date": "2026-11-25", "seed": 7, "cells": ["psp-mix/jpeg/5"], "checks": [check]}
    (tmp_path / "verification.json").write_text(json.dumps([{**document, "passed": True, "version": "0.1.0"}]))
    (only,) = read_verifications(tmp_path)
    assert isinstance(only, Verification)
    write_verifications(tmp_path, [only, only])
    assert len(read_verifications(tmp_path)) == 2
