from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from PIL import Image

from arsbench.contracts import ArsbenchError
from arsbench.reports import PLOTS, render_plot, write
from arsbench.reports.figure5 import draw

MakeRows = Callable[..., pd.DataFrame]


def test_a_run_leaves_summary_tables_and_figures(rows: pd.DataFrame, tmp_path: Path) -> None:
    paths = write(tmp_path / "run", rows)
    names = {path.relative_to(tmp_path / "run").as_posix() for path in paths}
    tables = {f"tables/{t}.{s}" for t in ("leaderboard", "table1", "table4", "table6") for s in ("md", "tex", "csv")}
    assert names == {"summary.csv", "figures/figure5.png", "figures/figure5.pdf"} | tables
    assert all(path.stat().st_size > 0 for path in paths)
    summary = pd.read_csv(tmp_path / "run" / "summary.csv")
    assert len(summary) == 9 * 2 * (1 + 6 * 2)
    assert {"mse", "mse_low", "mse_high", "n", "amplification_n"} <= set(summary.columns)


def test_the_figure_could_go_into_a_paper(rows: pd.DataFrame, tmp_path: Path) -> None:
    write(tmp_path, rows)
    with Image.open(tmp_path / "figures" / "figure5.png") as picture:
        assert picture.width == 7 * 300
    pdf = (tmp_path / "figures" / "figure5.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_a_run_of_one_level_leaves_what_it_can(make_rows: MakeRows, tmp_path: Path) -> None:
    paths = write(tmp_path, make_rows({"ars": 0.8, "brighten": 0.5}, levels=(0,)))
    assert {path.stem for path in paths} == {"summary", "leaderboard", "table1", "table4"}


def test_an_incomplete_run_writes_nothing_unless_partial(rows: pd.DataFrame, tmp_path: Path) -> None:
    short = rows.iloc[:-1]
    with pytest.raises(ArsbenchError, match="11 of 12 images"):
        write(tmp_path / "run", short)
    assert not (tmp_path / "run").exists()
    assert write(tmp_path / "run", short, partial=True)


def test_a_folder_that_cannot_be_written_is_one_sentence(make_rows: MakeRows, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(ArsbenchError, match="cannot be written"):
        write(tmp_path / "run", make_rows({"ars": 0.8}, levels=(0,)))


def test_the_figure_has_a_panel_per_manipulator_and_metric_and_a_line_per_protector(rows: pd.DataFrame) -> None:
    figure = draw(rows)
    assert len(figure.axes) == 2 * 5
    assert {len(axes.lines) for axes in figure.axes} == {8}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(labels) == sorted(["fgsm", "pgd", "disrupt", "ars", "noise", "brighten", "shade", "white"])


def test_the_figure_averages_over_the_perturbations_of_each_level(rows: pd.DataFrame) -> None:
    panel = draw(rows).axes[0]
    own = rows.query("protector == 'fgsm' and manipulator == 'psp-mix'")
    expected = own.groupby("level")["sr"].mean()
    assert panel.lines[0].get_xdata().tolist() == [0, 1, 5]
    assert panel.lines[0].get_ydata().tolist() == pytest.approx(expected.tolist())


def test_a_void_run_is_marked_in_the_figure(rows: pd.DataFrame) -> None:
    assert any("void: off" in text.get_text() for text in draw(rows, void="off").texts)


def test_the_same_rows_give_the_same_file(rows: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        render_plot("figure5", rows.sample(frac=1), tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_drawing_leaves_matplotlibs_settings_alone(rows: pd.DataFrame, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    render_plot("figure5", rows, tmp_path / "a.svg")
    assert dict(matplotlib.rcParams) == before


def test_unknown_plots_and_formats_name_the_known_ones(rows: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ArsbenchError, match=f"no plot 'figure9'; there are: {', '.join(PLOTS)}"):
        render_plot("figure9", rows, tmp_path / "a.png")
    with pytest.raises(ArsbenchError, match="formats are: png, pdf, svg"):
        render_plot("figure5", rows, tmp_path / "a.docx")


def test_one_level_makes_no_curve(make_rows: MakeRows, tmp_path: Path) -> None:
    with pytest.raises(ArsbenchError, match="only one"):
        render_plot("figure5", make_rows({"ars": 0.8}, levels=(0,)), tmp_path / "a.png")
