from __future__ import annotations

import io
import math
import re
from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arsbench.contracts import ArsbenchError
from arsbench.reports import render_table
from arsbench.reports.latex import escape
from arsbench.reports.table import Block, Column, Row, Table, Value, number, text

MakeRows = Callable[..., pd.DataFrame]
OF_ONE_BUDGET = ("leaderboard", "1", "2", "4", "5", "6")
"""The tables that a run of one budget, without transfer, suffices for."""


def as_frame(kind: str, rows: pd.DataFrame, **options: object) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(render_table(kind, rows, "csv", **options)), keep_default_na=False, na_values=[""])


def test_the_leaderboard_ranks_the_methods_by_sr_strict_and_leaves_controls_unranked(rows: pd.DataFrame) -> None:
    board = as_frame("leaderboard", rows)
    entries, controls = board[board["block"].isna()], board[board["block"] == "controls"]
    assert entries["protector"].tolist() == ["ars", "disrupt", "pgd", "fgsm"]
    assert entries["sr_strict"].is_monotonic_decreasing
    assert entries["rank"].iloc[0] == 1
    assert controls["protector"].tolist() == ["none", "noise", "brighten", "shade", "white"]
    assert controls["rank"].isna().all()


def test_the_leaderboard_is_the_mean_of_the_strongest_level(rows: pd.DataFrame) -> None:
    line = as_frame("leaderboard", rows).set_index("protector").loc["pgd"]
    own = rows[(rows["protector"] == "pgd") & (rows["level"] == 5)]
    assert line["MSE"] == pytest.approx(own["mse"].mean())
    assert line["amplification"] == pytest.approx(own["amplification"].median())
    recon = own[own["manipulator"] == "psp-recon"]
    assert line["sr_strict psp-recon"] == pytest.approx(recon["sr_strict"].mean())


def test_equal_protectors_share_a_rank(make_rows: MakeRows) -> None:
    rows = make_rows({"ars": 0.8, "fgsm": 0.3, "brighten": 0.5})
    twin = rows[rows["protector"] == "ars"].assign(protector="twin")
    board = as_frame("leaderboard", pd.concat([rows, twin])).set_index("protector")
    assert board.loc[["ars", "twin", "fgsm"], "rank"].tolist() == [1, 1, 3]


def test_an_entry_that_does_not_beat_the_controls_is_marked(rows: pd.DataFrame) -> None:
    board = as_frame("leaderboard", rows).set_index("protector")
    assert board.loc["fgsm", "remark"] == "does not beat brighten and shade"
    assert board["remark"].count() == 1
    printed = render_table("leaderboard", rows)
    assert r"| fgsm\* |" in printed
    assert r"\* does not beat brighten and shade." in printed


def test_a_run_of_weaker_levels_says_which_level_it_ranks(make_rows: MakeRows) -> None:
    assert "(level 3, epsilon 0.3, 12 images)" in render_table("leaderboard", make_rows(levels=(0, 3)))
    assert "(no perturbation, epsilon 0.3" in render_table("leaderboard", make_rows(levels=(0,)))


def test_table_6_holds_every_perturbation_and_method_at_level_5(rows: pd.DataFrame) -> None:
    table = as_frame("6", rows).set_index(["manipulator", "perturbation", "protector"])
    assert len(table) == 2 * (6 + 1) * (4 + 2)
    own = rows.query("manipulator == 'psp-mix' and perturbation == 'jpeg' and protector == 'ars' and level == 5")
    line = table.loc[("psp-mix", "JPEG", "ars")]
    assert line["SR"] == pytest.approx(own["sr"].mean())
    assert line["PSNR"] == pytest.approx(own["psnr"].mean())
    assert line["PSNR low"] < line["PSNR"] < line["PSNR high"]


def test_table_1_is_without_perturbation(rows: pd.DataFrame) -> None:
    table = as_frame("1", rows).set_index(["manipulator", "protector"])
    own = rows.query("manipulator == 'psp-recon' and protector == 'disrupt' and level == 0")
    assert table.loc[("psp-recon", "disrupt"), "LPIPS"] == pytest.approx(own["lpips"].mean())


def test_table_4_gives_seconds_per_image_and_none_for_the_ceiling(rows: pd.DataFrame) -> None:
    table = as_frame("4", rows).set_index("protector")
    assert table.loc["ars", "psp-mix"] == pytest.approx(0.04)
    assert math.isnan(table.loc["white", "psp-mix"])


@pytest.mark.parametrize("kind", OF_ONE_BUDGET)
def test_a_missing_image_is_named_and_refused(kind: str, rows: pd.DataFrame) -> None:
    short = rows.drop(rows.query("protector == 'pgd' and perturbation == 'jpeg' and level == 5").index[0])
    with pytest.raises(ArsbenchError, match=r"pgd / psp-mix / jpeg / level 5 has 11 of 12 images; finish the run"):
        render_table(kind, short)


def test_a_missing_cell_is_named_and_refused(rows: pd.DataFrame) -> None:
    short = rows.query("not (protector == 'ars' and manipulator == 'psp-recon' and level > 0)")
    with pytest.raises(
        ArsbenchError, match=r"psp-recon / \w+ / level 1 has 0 of 12 images and 11 more cells are short"
    ):
        render_table("6", short)


@pytest.mark.parametrize("kind", ["leaderboard", "1", "4", "6"])
def test_partial_shows_what_there_is_with_n(kind: str, rows: pd.DataFrame) -> None:
    short = rows.drop(rows.query("protector == 'pgd' and level in (0, 5)").index[::13])
    table = as_frame(kind, short, partial=True)
    assert table.loc[table["protector"] == "pgd", "n"].min() < 12
    assert (table.loc[table["protector"] == "ars", "n"] == 12).all()


def test_partial_does_not_rank_protectors_with_other_cells(rows: pd.DataFrame) -> None:
    short = rows.query("not (protector == 'pgd' and perturbation == 'jpeg')")
    assert as_frame("leaderboard", short, partial=True)["rank"].isna().all()
    assert "Unranked" in render_table("leaderboard", short, partial=True)


@pytest.mark.parametrize("format", ["markdown", "latex", "csv"])
def test_a_void_run_says_so(format: str, rows: pd.DataFrame) -> None:
    assert "control 'none' is off" in render_table("1", rows, format, void="control 'none' is off")


def test_every_budget_has_a_leaderboard_of_its_own(rows: pd.DataFrame, make_rows: MakeRows) -> None:
    weak = make_rows({"ars": 0.1, "fgsm": 0.9, "brighten": 0.1}, epsilon=0.1)
    strong = rows[rows["protector"].isin(["ars", "fgsm", "brighten"])]
    board = as_frame("leaderboard", pd.concat([weak, strong]))
    assert board[board["rank"] == 1][["epsilon", "protector"]].to_numpy().tolist() == [[0.1, "fgsm"], [0.3, "ars"]]


def test_unknown_kinds_and_formats_name_the_known_ones(rows: pd.DataFrame) -> None:
    with pytest.raises(ArsbenchError, match="no table '7'; there are: leaderboard, 1, 2, 3, 4, 5, 6"):
        render_table("7", rows)
    with pytest.raises(ArsbenchError, match="no table format 'html'; there are: markdown, latex, csv"):
        render_table("1", rows, "html")


def test_tables_about_what_was_not_run_are_refused(make_rows: MakeRows) -> None:
    with pytest.raises(ArsbenchError, match="none above level 0"):
        render_table("6", make_rows(levels=(0,)))
    with pytest.raises(ArsbenchError, match="none at level 0"):
        render_table("1", make_rows(levels=(5,)))


def test_no_rows_are_refused(rows: pd.DataFrame) -> None:
    with pytest.raises(ArsbenchError, match="no rows"):
        render_table("leaderboard", rows.iloc[:0])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_the_order_of_rows_never_changes_a_table(rows: pd.DataFrame, seed: int) -> None:
    shuffled = rows.sample(frac=1, random_state=seed)
    for kind in OF_ONE_BUDGET:
        assert render_table(kind, shuffled, "csv") == render_table(kind, rows, "csv")


@pytest.mark.parametrize("kind", OF_ONE_BUDGET)
def test_every_latex_line_has_all_its_columns(kind: str, rows: pd.DataFrame) -> None:
    latex = render_table(kind, rows, "latex")
    for body in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", latex, re.DOTALL):
        sides = re.match(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", body)
        assert sides is not None
        lines = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(sides[1]) - 1}
    assert latex.count(r"\begin{") == latex.count(r"\end{")
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")
    assert latex.isascii()


def test_latex_escapes_what_a_name_may_hold() -> None:
    assert escape(r"my_50%&#$^~\{x}") == (r"my\_50\%\&\#\$\textasciicircum{}\textasciitilde{}\textbackslash{}\{x\}")


def test_markdown_escapes_a_pipe_in_a_name() -> None:
    from arsbench.reports.markdown import render

    table = Table("t", "t", (Column("a"),), (Block((Row(("x|y",)),)),))
    assert r"| x\|y |" in render(table)


def test_numbers_are_shown_as_a_reader_expects() -> None:
    assert number(0.12345, 3) == "0.123"
    assert number(math.nan, 3) == "–"
    assert number(1.5e-5, 3) == "1.5e-05"
    assert text(Value(0.5, 0.4, 0.62), Column("x", digits=2, interval=True)) == "0.50 ± 0.11"
    assert text(Value(0.5), Column("x", digits=2, interval=True)) == "0.50"
