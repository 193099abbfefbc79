"""Figures to files: PNG for reading, PDF and SVG for papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from arsbench.contracts import ArsbenchError
from arsbench.reports import figure5, pareto, transfer
from arsbench.reports.selection import budgets, direct, has_methods, trained_on

DRAWERS: dict[str, Callable[[pd.DataFrame, bool, str | None], Figure]] = {
    "figure5": figure5.draw,
    "pareto": pareto.draw,
    "transfer": transfer.draw,
}
FORMATS = ("png", "pdf", "svg")
DPI = 300
"""Dots per inch of a PNG, and of pictures in a PDF."""
_STYLE = {
    "backend": "agg",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "font.family": "DejaVu Sans",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "arsbench",
}
# A file made twice from the same rows is the same file.
_UNDATED: dict[str, dict[str, Any]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


def of_run(rows: pd.DataFrame) -> list[str]:
    """The plots that the rows suffice for."""
    own = direct(rows)
    levels = has_methods(own) and own["level"].nunique() > 1
    kinds = ["figure5"] if levels or (own.equals(rows) and rows["level"].nunique() > 1) else []
    kinds += ["pareto"] if has_methods(own) and len(budgets(own)) > 1 else []
    return kinds + (["transfer"] if (trained_on(rows) != "").any() and len(budgets(rows)) == 1 else [])


def save(kind: str, rows: pd.DataFrame, paths: Sequence[Path], partial: bool = False, void: str | None = None) -> None:
    """Draws ``kind`` and writes it to each path in the format of its suffix; PNG at 300 dots per inch.

    Raises:
        ArsbenchError: unknown kind or format, rows that do not suffice, or a path that cannot be written.
    """
    if kind not in DRAWERS:
        raise ArsbenchError(f"there is no plot '{kind}'; there are: {', '.join(DRAWERS)}")
    write(lambda: DRAWERS[kind](rows, partial, void), paths)


def write(draw: Callable[[], Figure], paths: Sequence[Path]) -> None:
    """Draws a figure in the project's style and writes it to each path in the format of its suffix.

    Raises:
        ArsbenchError: unknown format, or a path that cannot be written.
    """
    suffixes = {path: format_of(path) for path in paths}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        figure = draw()
        for path, suffix in suffixes.items():
            try:
                figure.savefig(path, format=suffix, dpi=DPI, metadata=_UNDATED[suffix])
            except OSError as error:
                raise ArsbenchError(f"the plot {path} cannot be written: {error.strerror or error}") from error


def format_of(path: Path) -> str:
    """The format that a path's suffix asks for.

    Raises:
        ArsbenchError: there is no such format.
    """
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in FORMATS:
        raise ArsbenchError(f"a plot cannot be written as '{path.name}'; the formats are: {', '.join(FORMATS)}")
    return suffix
