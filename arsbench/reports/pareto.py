"""Protection against visibility: a point per protector and budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from arsbench.contracts import ArsbenchError
from arsbench.reports.figure5 import style
from arsbench.reports.selection import (
    TO_BEAT,
    budgets,
    controls,
    direct,
    manipulators,
    methods,
    require_complete,
    strongest,
)
from arsbench.scoring import statistics

METRICS = {"sr_strict": r"SR$_{\mathrm{strict}}$ ↑", "sr": "SR ↑"}
CLOSE = 0.04
"""Points nearer than this share one name."""
_WIDTH = 7.0
_ROW = 2.3


def draw(rows: pd.DataFrame, partial: bool = False, void: str | None = None) -> Figure:
    """A row of panels per manipulator, SR_strict and SR over LPIPS of the protected picture at the strongest level.

    A protector's budgets are joined by a line and named at its points, where there are several. The bars are 95 %
    intervals.

    Raises:
        ArsbenchError: no LPIPS, no protector against the manipulator it meets, or (unless ``partial``) missing cells or
            images.
    """
    require_complete(rows, partial)
    rows, level = strongest(direct(rows))
    names = [*methods(rows), *controls(rows, TO_BEAT)]
    rows = rows[rows["protector"].isin(names)]
    if not methods(rows) or rows["protected_lpips"].isna().all():
        raise ArsbenchError("there is nothing to plot: the rows have no protector, or no LPIPS of what it made")
    by = ("protector", "manipulator", "epsilon")
    means = statistics.averages(rows, by, ["protected_lpips", *METRICS])
    models = manipulators(rows)
    figure = Figure(figsize=(_WIDTH, _ROW * len(models) + 0.5), layout="constrained")
    grid = figure.subplots(len(models), len(METRICS), squeeze=False, sharex=True)
    several = len(budgets(rows)) > 1
    for i, model in enumerate(models):
        for j, (metric, label) in enumerate(METRICS.items()):
            axes: Axes = grid[i, j]
            for name in names:
                own = means[(means["manipulator"] == model) & (means["protector"] == name)].sort_values("epsilon")
                _points(axes, own, metric, name, methods(rows), several)
            axes.set_ylim(-0.04, 1.06)
            axes.set_ylabel(f"{model}: {label}")
            axes.grid(color="0.9", linewidth=0.5)
            axes.spines[["top", "right"]].set_visible(False)
            if i == len(models) - 1:
                axes.set_xlabel("LPIPS of the protected picture: visible →")
    handles = [Line2D([], [], label=name, **_look(name, methods(rows))) for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(7, len(names)), frameon=False)
    told = f"level {level}" if level else "no perturbation"
    budget = "" if several else f", epsilon {budgets(rows)[0]:g}"
    figure.suptitle(f"{told}{budget}" + (f"; void: {void}" if void else ""), fontsize=8)
    return figure


def _look(name: str, entries: list[str]) -> dict[str, Any]:
    look: dict[str, Any] = {"marker": "s", "markersize": 3.2, **style(name, entries)}
    return {**look, "linestyle": "-" if name in entries else ":", "linewidth": 0.8}


def _points(axes: Axes, own: pd.DataFrame, metric: str, name: str, entries: list[str], several: bool) -> None:
    x, y = own["protected_lpips"].to_numpy(), own[metric].to_numpy()
    look = _look(name, entries)
    axes.plot(x, y, **look)
    low, high = own[f"{metric}_low"].to_numpy(), own[f"{metric}_high"].to_numpy()
    axes.vlines(x, low, high, color=look["color"], linewidth=0.6)
    if several and name in entries:
        for epsilon, at, height in zip(own["epsilon"], x, y, strict=True):
            named = [text.xy for text in axes.texts if isinstance(text, Annotation)]
            if all(np.hypot(x0 - at, y0 - height) >= CLOSE for x0, y0 in named):
                axes.annotate(f"{epsilon:g}", (at, height), (2, 2), textcoords="offset points", fontsize=5)
