"""Every table compiles with a real TeX, in one column and in two, and fits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from arsbench.reports import render_table, render_tables
from arsbench.reports.compare import cell_tables, compare, findings_table
from arsbench.reports.speed import speed_tables
from arsbench.running.speed import Speed

MakeRows = Callable[..., pd.DataFrame]
NAMES = ("fgsm", "pgd", "disrupt", "tafim", "eot_pgd", "ars", "ars_tuned", "ars_basic_with_robust", "ars_full")
MODELS = ("psp-mix", "psp-recon", "simswap", "styleclip")
LARGEST = 2.0
"""Points that a box may be too wide."""


@pytest.fixture(scope="module")
def texts(make_rows: MakeRows) -> dict[str, str]:
    """Every table of a run as large as the whole evaluation, with intervals and without."""
    strengths = {"none": 0.0, "noise": 0.02, "brighten": 0.5, "shade": 0.55, "white": 1.0}
    strengths |= {name: 0.3 + i / 20 for i, name in enumerate(NAMES)}
    rows = make_rows(strengths, MODELS, images=3, levels=(0, 5))
    away = [
        rows[rows["protector"].isin(NAMES) & (rows["manipulator"] != maker)].assign(trained_on=maker)
        for maker in MODELS
    ]
    everything = pd.concat([rows, *away], ignore_index=True)
    budgets = pd.concat([rows.assign(epsilon=epsilon) for epsilon in (0.1, 0.3, 0.5)], ignore_index=True)
    made = {
        f"{kind}-{intervals}": render_table(kind, budgets if kind == "2" else everything, "latex", intervals=intervals)
        for kind in ("leaderboard", "1", "2", "3", "4", "5", "6")
        for intervals in (False, True)
    }
    found = compare(everything)
    made["compare"] = render_tables([*cell_tables(found), findings_table(found)], "latex")
    times = [Speed(name, "psp-mix", "cpu", "AMD EPYC", 0.0123, 0.01, 0.02, 5, 4, 11, 10, 1, 7.8) for name in NAMES]
    made["speed"] = render_tables(speed_tables(times), "latex")
    return made


@pytest.mark.parametrize("option", ["", "twocolumn"])
def test_every_table_compiles_and_fits(option: str, texts: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        if os.environ.get("ARSBENCH_NEEDS_TEX") == "1":
            pytest.fail("there is no pdflatex here")
        pytest.skip("there is no pdflatex here")
    body = "\n\\clearpage\n".join(texts.values())
    head = f"\\documentclass[{option}]{{article}}\n\\usepackage{{booktabs}}\n"
    document = f"{head}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "t.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "t.log").read_text(errors="replace")
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(wide, default=0.0) <= LARGEST
    assert "Float too large" not in log


def test_names_are_those_of_papers(texts: dict[str, str]) -> None:
    assert r"$\mathrm{SR}_{mask}$ $\uparrow$" in texts["6-False"]
    assert r"\textbf{" in texts["6-False"]
    assert r"\underline{" in texts["6-False"]
    assert "Disrupt" in texts["6-False"]
    assert r"\pm" not in texts["6-False"]
    assert r"{\tiny$\pm$" in texts["6-True"]


def test_what_is_too_wide_for_a_column_spans_the_page(texts: dict[str, str], rows: pd.DataFrame) -> None:
    assert r"\begin{table*}" in texts["leaderboard-False"]
    assert r"\begin{table}" in render_table("4", rows, "latex")
