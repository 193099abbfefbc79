from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "results_shown.py"))
up_to_date, documents = SCRIPT["up_to_date"], SCRIPT["documents"]


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_the_tables_that_are_shown_are_those_of_results(document):
    text = document.read_text()
    assert up_to_date(text) == text


def test_a_table_is_taken_by_what_its_title_names(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "t.md").write_text("**Against a**\n\n| 1 |\n\n**Against b**\n\n| 2 |\n")
    old = "before\n<!-- results/t.md b -->\n\n| 0 |\n\n<!-- end -->\nafter\n"
    assert (
        up_to_date(old, tmp_path)
        == "before\n<!-- results/t.md b -->\n\n**Against b**\n\n| 2 |\n\n<!-- end -->\nafter\n"
    )
    assert "| 1 |" in up_to_date(old.replace(" b -->", " -->"), tmp_path)
