"""The committed results agree with each other."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd
import pytest

from arsbench.leaderboard.aggregates import WORST
from arsbench.leaderboard.entry import read_entry
from arsbench.leaderboard.verify import verify

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
ENTRIES = sorted(path.parent for path in RESULTS.glob("leaderboard/*/entry.json"))


@pytest.mark.parametrize("folder", ENTRIES, ids=lambda folder: folder.name)
def test_an_entry_has_the_numbers_of_the_main_run_and_verifies(folder):
    table = pd.read_csv(RESULTS / "paper" / "runs" / "robustness" / "tables" / "leaderboard.csv").set_index("protector")
    method = folder.name.removesuffix("_pictures")  # the same, as pictures alone
    aggregates = read_entry(folder).aggregates
    for metric, column in (("sr_strict", "sr_strict"), (WORST, WORST), ("lpips", "LPIPS"), ("ssim", "SSIM")):
        assert aggregates["all"][metric][0] == pytest.approx(table.loc[method, column], abs=1e-6)
    for manipulator in ("psp-mix", "simswap"):
        own = table.loc[method, f"sr_strict {manipulator}"]
        assert aggregates[manipulator]["sr_strict"][0] == pytest.approx(own, abs=1e-6)
    assert verify(folder, tier=0).passed


def test_every_ranked_method_of_the_main_run_has_an_entry():
    table = pd.read_csv(RESULTS / "paper" / "runs" / "robustness" / "tables" / "leaderboard.csv")
    ranked = set(table.loc[table["rank"].notna(), "protector"])
    assert ranked <= {folder.name for folder in ENTRIES}


def test_what_the_weights_reach_is_made_from_the_entries():
    made = runpy.run_path(str(ROOT / "docs" / "reached.py"))["reached"]()
    assert (RESULTS / "reached.md").read_text() == made
