from __future__ import annotations

import csv
import io
import json
import shutil
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arsbench.contracts import ArsbenchError
from arsbench.leaderboard import table
from arsbench.leaderboard.entry import Verification, withdraw, write_verifications
from arsbench.leaderboard.ranks import MARKS, board, entries_in, scores_of, tiers
from arsbench.protocol import protocol
from arsbench.running.store import SCHEMA
from arsbench.scoring import statistics


def faces(n):
    return [f"open/test/{12000 + i}" for i in range(n)]


def family(seed, shifts, n):
    """Methods with the success of 24 cells a face: faces and cells are hard for all alike, the rest is a method's own.

    ``shifts`` move a method's latent strength; 0.185 of it is a little under .05 of sr_strict.
    """
    random = np.random.default_rng(seed)
    shared = random.normal(0, 1, (n, 1)) + random.normal(0, 0.5, (1, 24))
    made = {}
    for i, shift in enumerate(shifts):
        own = random.normal(0, 0.7, (n, 1)) + random.normal(0, 0.7, (n, 24))
        made[f"m{i:02d}"] = pd.Series((shared + own + shift > 0).mean(axis=1), index=faces(n))
    return made


def in_one_tier(simulations, n=100):
    return sum(set(tiers(family(1000 + s, [0.0] * 20, n)).tier.values()) == {1} for s in range(simulations))


def separated(simulations):
    found, differences = 0, []
    for s in range(simulations):
        scores = family(2000 + s, [0.0, 0.185], 1000)
        differences.append(scores["m01"].mean() - scores["m00"].mean())
        found += ("m01", "m00") in tiers(scores).better
    assert 0.04 < np.mean(differences) < 0.05
    return found


def test_copies_share_a_tier_quickly():
    assert in_one_tier(5) == 5


def test_a_difference_of_a_twentieth_is_seen_quickly():
    assert separated(5) == 5


@pytest.mark.slow
def test_twenty_copies_share_a_tier_in_19_of_20_simulations():
    assert in_one_tier(20) >= 19
    assert in_one_tier(200) >= 190


@pytest.mark.slow
def test_a_difference_of_a_twentieth_on_1000_faces_is_seen_in_95_of_100():
    assert separated(100) >= 95


def test_equal_methods_are_never_told_apart():
    scores = family(1, [0.0], 100)
    assert tiers({"a": scores["m00"], "b": scores["m00"].copy()}).tier == {"a": 1, "b": 1}


def test_a_constant_lead_is_told_apart():
    scores = family(1, [0.0], 100)["m00"]
    assert tiers({"a": scores, "b": scores + 0.01}).better == {("b", "a")}


def test_the_order_of_the_methods_changes_nothing():
    scores = family(3, [0.0, 0.3, 0.6, 0.0], 200)
    assert tiers(scores) == tiers(dict(reversed(scores.items())))


def test_a_tier_is_one_more_than_the_number_of_the_better():
    scores = family(4, [0.0, 1.0, 2.0, 1.0], 300)
    found = tiers(scores)
    assert found.tier == {"m02": 1, "m01": 2, "m03": 2, "m00": 4}


def test_two_methods_agree_with_the_paired_bootstrap_of_the_tables():
    scores = family(5, [0.0, 0.5], 150)
    rows = pd.concat(
        pd.DataFrame({"protector": name, "image": values.index, "sr_strict": values.to_numpy()})
        for name, values in scores.items()
    ).assign(manipulator="g", perturbation="p", level=5, epsilon=0.3)
    assert statistics.compare(rows, "m01", "m00").low > 0
    assert ("m01", "m00") in tiers(scores).better


def test_methods_with_other_numbers_of_faces_are_compared_on_those_they_share():
    scores = family(6, [0.0, 0.0], 300)
    # Beyond the shared faces nothing counts.
    scores["m01"] = pd.concat([scores["m01"].iloc[:150], scores["m01"].iloc[150:] * 0])
    short = {"m00": scores["m00"].iloc[:150], "m01": scores["m01"]}
    assert tiers(short).better == frozenset()
    assert tiers(scores).better == {("m00", "m01")}


# --- the board ------------------------------------------------------------------------------------------------------


@pytest.fixture
def entries(made, tmp_path):
    """``entries(name, shift)`` puts an entry of 100 faces on the board."""
    document = json.loads((made / "code-entry" / "entry.json").read_text())
    shared = np.random.default_rng(0).normal(0, 1, (100, 1))

    def put(name, shift, verified=True, **changes):
        folder = tmp_path / name
        folder.mkdir()
        own = np.random.default_rng(sum(map(ord, name))).normal(0, 0.7, (100, 2))
        success = (shared + own + shift > 0).astype(float)
        rows = pd.DataFrame(
            {
                **{field.name: (0.0 if field.type == pa.float64() else "") for field in SCHEMA},
                "protector": name,
                "manipulator": "psp-mix",
                "perturbation": np.repeat(["jpeg", "dropout"], 100),
                "level": 5,
                "image": faces(100) * 2,
                "sr_strict": success.T.ravel(),
            }
        )
        pq.write_table(pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False), folder / "rows.parquet")
        mean = float(success.mean())
        aggregates = {"all": {"sr_strict": [mean, mean - 0.05, mean + 0.05], "sr_strict_worst": [0.1, 0.0, 0.2]}}
        mine = {**document, "name": name, "images": 100, "aggregates": aggregates, **changes}
        mine["protocol_hash"] = changes.get("protocol_hash", protocol("open").hash)
        (folder / "entry.json").write_text(json.dumps(mine))
        if verified is not None:
            one = Verification(
                tier=1, date=date(2026, 11, 25), seed=1, cells=[], checks=[], passed=verified, version="0"
            )
            write_verifications(folder, [one])
        return folder

    put.folder = tmp_path
    return put


def control(name):
    return {"method": {"kind": "code", "class": f"arsbench:{name}", "files": {}}}


def standings(entries):
    return {one.entry.name: one for one in board(entries_in(entries.folder))}


def test_scores_are_the_means_over_cells(entries):
    folder = entries("a", 0)
    rows = pq.read_table(folder / "rows.parquet").to_pandas()
    assert scores_of(folder)["open/test/12003"] == rows[rows["image"] == "open/test/12003"]["sr_strict"].mean()


def test_the_board_ranks_entries_and_draws_the_controls_as_lines(entries):
    entries("strong", 2)
    entries("weak", -0.5)
    entries("bright", 0, **control("brighten"))
    entries("shady", 0.2, **control("shade"))
    found = standings(entries)
    assert [one.entry.name for one in board(entries_in(entries.folder))][:2] == ["strong", "weak"]
    assert (found["strong"].tier, found["weak"].tier) == (1, 2)
    assert found["bright"].tier is None
    assert found["bright"].control
    assert "B" in found["weak"].marks
    assert "B" not in found["strong"].marks


@pytest.mark.parametrize(
    ("changes", "mark", "ranked"),
    [
        ({"trained_on": ["jpeg"]}, "T", True),
        ({"flags": [{"name": "saturation", "level": "warning", "what": "x"}]}, "F", True),
        ({"verified": None}, "U", True),
        ({"images": 99}, "N", False),
        ({"verified": False}, "X", False),
        ({"protocol_hash": "0" * 64}, "P", False),
    ],
)
def test_marks(entries, changes, mark, ranked):
    entries("plain", 0)
    entries("marked", 0, **changes)
    found = standings(entries)
    assert found["plain"].marks == ""
    assert found["marked"].marks == mark
    assert (found["marked"].tier is not None) == ranked


def test_a_withdrawn_entry_stays_without_a_rank(entries):
    entries("a", 0)
    withdraw(entries("gone", 3), "trained on the test faces")
    found = standings(entries)
    assert found["gone"].marks == "W"
    assert found["gone"].tier is None
    with pytest.raises(ArsbenchError, match="already"):
        withdraw(entries.folder / "gone", "again")


def test_two_entries_of_one_name_are_refused(entries):
    shutil.copytree(entries("a", 0), entries.folder / "b")
    with pytest.raises(ArsbenchError, match="two entries are called 'a'"):
        standings(entries)


def test_every_format_has_tiers_intervals_and_marks(entries):
    entries("strong", 2)
    entries("weak", -0.5, trained_on=["jpeg"])
    entries("bright", 0, **control("brighten"))
    found = board(entries_in(entries.folder))
    mean, low, high = found[0].number("sr_strict")
    assert f"{mean:.3f} ± 0.050" in table.render(found, "markdown")
    assert f"{mean:.3f}" in table.render(found, "latex")
    assert MARKS["T"] in table.render(found, "markdown")
    first = next(csv.DictReader(io.StringIO(table.render(found, "csv"))))
    assert (first["tier"], first["entry"]) == ("1", "strong")
    ends = [float(first[f"sr_strict{end}"]) for end in ("", " low", " high")]
    assert ends == pytest.approx([mean, low, high])
    document = json.loads(table.render(found, "json"))
    assert document[0]["aggregates"]["all"]["sr_strict"] == [mean, low, high]
    assert document[1]["marks"] == {"T": MARKS["T"], "B": MARKS["B"]}
    assert document[2]["control"] is True
    assert document[0]["verified"] == {"tier": 1, "date": "2026-11-25"}


def test_an_unknown_column_is_refused(entries):
    entries("a", 0)
    with pytest.raises(ArsbenchError, match="did you mean sr_strict"):
        table.table(board(entries_in(entries.folder)), ["sr_strickt"])
