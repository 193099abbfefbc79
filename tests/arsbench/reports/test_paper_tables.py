"""Tables 2, 3 and 5, the worst case, and what is emphasised."""

from __future__ import annotations

import io
from collections.abc import Callable

import pandas as pd
import pytest

from arsbench.contracts import ArsbenchError
from arsbench.reports import render_table
from arsbench.reports.table import BEST, SECOND, Block, Column, Row, Table, emphasis
from arsbench.reports.tables import applies
from arsbench.scoring.statistics import worst_case

MakeRows = Callable[..., pd.DataFrame]


def as_frame(kind: str, rows: pd.DataFrame, **options: object) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(render_table(kind, rows, "csv", **options)), keep_default_na=False, na_values=[""])


@pytest.fixture
def transfer(rows: pd.DataFrame) -> pd.DataFrame:
    """What was made against one of the two manipulators, on both; made against the other, it succeeds never."""
    methods = rows[rows["protector"].isin(["pgd", "ars"])]
    other = {"psp-mix": "psp-recon", "psp-recon": "psp-mix"}
    away = methods.assign(trained_on=methods["manipulator"].map(other), sr=0.0, sr_strict=0.0)
    return pd.concat([rows, away], ignore_index=True)


def test_table_2_has_a_line_for_every_budget(rows: pd.DataFrame) -> None:
    both = pd.concat([rows, rows.assign(epsilon=0.1, sr=0.0)])
    table = as_frame("2", both).set_index(["block", "manipulator", "epsilon"])
    own = rows.query("protector == 'pgd' and manipulator == 'psp-mix' and level == 5")
    assert table.loc[("SR", "psp-mix", 0.3), "pgd"] == pytest.approx(own["sr"].mean())
    assert table.loc[("SR", "psp-mix", 0.1), "pgd"] == 0
    assert table.loc[("sr_strict", "psp-mix", 0.1), "pgd"] == pytest.approx(own["sr_strict"].mean())


def test_table_3_crosses_what_was_protected_against_with_what_was_evaluated(transfer: pd.DataFrame) -> None:
    table = as_frame("3", transfer).set_index(["block", "protected against", "evaluated on"])["ars"]
    own = transfer.query("protector == 'ars' and manipulator == 'psp-mix' and level == 5 and trained_on == ''")
    assert table["SR", "psp-mix", "psp-mix"] == pytest.approx(own["sr"].mean())
    assert table["SR", "psp-recon", "psp-mix"] == 0
    assert len(table) == 2 * 4


def test_transfer_changes_no_other_table(rows: pd.DataFrame, transfer: pd.DataFrame) -> None:
    for kind in ("leaderboard", "1", "2", "6"):
        assert render_table(kind, transfer, "csv") == render_table(kind, rows, "csv")


def test_a_missing_image_of_transfer_is_named(transfer: pd.DataFrame) -> None:
    short = transfer.drop(transfer.query("trained_on == 'psp-mix' and perturbation == 'jpeg' and level == 5").index[0])
    with pytest.raises(ArsbenchError, match=r"(ars|pgd) / psp-mix to psp-recon / jpeg / level 5 has 11 of 12"):
        render_table("3", short)


def test_table_3_without_transfer_says_how_to_run_it(rows: pd.DataFrame) -> None:
    with pytest.raises(ArsbenchError, match="--trained-on"):
        render_table("3", rows)
    assert not applies("3", rows)


def test_table_5_averages_all_levels_and_names_what_is_missing(make_rows: MakeRows) -> None:
    rows = make_rows({"none": 0, "noise": 0.02, "ars_basic": 0.4, "ars_full": 0.8, "ars": 0.9})
    table = as_frame("5", rows).set_index(["manipulator", "protector"])
    own = rows.query("protector == 'ars_basic' and manipulator == 'psp-mix' and level > 0")
    assert table.loc[("psp-mix", "ars_basic"), "SR"] == pytest.approx(own["sr"].mean())
    assert set(table.index.get_level_values(1)) == {"ars_basic", "ars_full"}
    assert "ars_non_lossy" in render_table("5", rows, "latex").replace("\\_", "_")


def test_the_worst_case_is_each_images_least_over_the_perturbations(rows: pd.DataFrame) -> None:
    own = rows.query("protector == 'ars' and manipulator == 'psp-mix' and level == 5")
    by_hand = own.groupby("image")["sr_strict"].min()
    worst = worst_case(own).set_index("image")["sr_strict"]
    assert worst.to_dict() == by_hand.to_dict()
    table = as_frame("6", rows)
    last = table[(table["perturbation"] == "Worst case") & (table["protector"] == "ars")]
    assert last[last["manipulator"] == "psp-mix"]["sr_strict"].item() == pytest.approx(by_hand.mean())
    board = as_frame("leaderboard", rows).set_index("protector")
    assert board.loc["ars", "sr_strict_worst"] <= board.loc["ars", "sr_strict"]


def test_an_image_that_lacks_a_perturbation_has_no_worst_case(rows: pd.DataFrame) -> None:
    own = rows.query("protector == 'ars' and manipulator == 'psp-mix' and level == 5")
    short = own.drop(own.query("perturbation == 'jpeg'").index[0])
    assert len(worst_case(short)) == len(worst_case(own)) - 1


def test_the_best_is_bold_and_the_second_underlined_among_what_is_compared() -> None:
    columns = (Column("protector"), Column("MSE", "higher", 2), Column("PSNR", "lower", 2))
    rows = tuple(Row((name, *values), compared=name != "white") for name, *values in LINES)
    marks = emphasis(Table("t", "t", columns, (Block(rows),)))
    assert [line[1] for line in marks[0]] == ["", SECOND, BEST, BEST]
    assert [line[2] for line in marks[0]] == ["", BEST, "", SECOND]


LINES = [("white", 9.0, 0.0), ("a", 0.2, 10.0), ("b", 0.301, 12.0), ("c", 0.3, 11.0)]


def test_where_protectors_are_columns_the_best_is_that_of_its_line() -> None:
    columns = (
        Column("epsilon"),
        *(Column(name, "higher", 2, compared=True) for name in "ab"),
        Column("shade", "higher"),
    )
    table = Table("t", "t", columns, (Block((Row(("0.1", 0.5, 0.7, 0.9)), Row(("0.3", 0.7, 0.7, 0.9)))),), across=True)
    assert emphasis(table)[0] == [["", SECOND, BEST, ""], ["", "", "", ""]]
