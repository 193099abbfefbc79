"""Figure 5 of the paper: protection over the levels, averaged over the perturbations of each level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import METHODS, budgets, controls, direct, manipulators, methods, require_complete
from arsbench.scoring import statistics

METRICS = {
    "sr": "SR ↑",
    "sr_mask": r"SR$_{\mathrm{mask}}$ ↑",
    "sr_strict": r"SR$_{\mathrm{strict}}$ ↑",
    "lpips": "LPIPS ↑",
    "psnr": "PSNR [dB] ↓",
}
_SHARES = {"sr", "sr_mask", "sr_strict"}
# Okabe and Ito's palette without its yellow, which is too light on white, then two of Tol's.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#882255", "#999933")
_MARKERS = "os^DvPX*<>hp"
_DASHES: dict[str, Any] = {
    "noise": (0, (1, 1.5)),
    "brighten": (0, (4, 1.5)),
    "shade": (0, (4, 1.5, 1, 1.5)),
    "white": (0, (8, 2)),
}
_GREYS = {"noise": "0.45", "brighten": "0.35", "shade": "0.55", "white": "0.7"}
_WIDTH = 7.0
_ROW = 1.45
_LEGEND_LINE = 0.16


def draw(rows: pd.DataFrame, partial: bool = False, void: str | None = None) -> Figure:
    """A figure 7 inches wide, one line per protector with its 95 % interval.

    A row of panels per manipulator and, where there are several, per budget.

    ``none`` is left out: it is 0, or 80 dB, by definition.

    Raises:
        ArsbenchError: fewer than two levels, or (unless ``partial``) missing cells or images.
    """
    require_complete(rows, partial)
    rows = direct(rows)
    if rows["level"].nunique() < 2:
        raise ArsbenchError("figure 5 runs over levels, and the rows have only one; run with --level all")
    names = [*methods(rows), *(name for name in controls(rows) if name != "none")]
    there = budgets(rows)
    bands = [
        (model, epsilon)
        for model in manipulators(rows)
        for epsilon in there
        if rows.loc[(rows["manipulator"] == model) & (rows["epsilon"] == epsilon), "level"].nunique() > 1
    ]
    means = statistics.averages(rows, ("protector", "manipulator", "epsilon", "level"), list(METRICS))
    legend_lines = -(-len(names) // 6)
    legend_height = legend_lines * _LEGEND_LINE + (0.35 if void or partial else 0.12)
    height = _ROW * len(bands) + 0.25 + legend_height
    # The legend has the strip above the panels to itself.
    layout = ConstrainedLayoutEngine(
        w_pad=0.02, h_pad=0.03, wspace=0.02, hspace=0.02, rect=(0, 0, 1, 1 - legend_height / height)
    )
    figure = Figure(figsize=(_WIDTH, height), layout=layout)
    grid = figure.subplots(len(bands), len(METRICS), squeeze=False, sharex=True)
    styles = {name: style(name, methods(rows)) for name in names}
    for i, (model, epsilon) in enumerate(bands):
        budget = (means["epsilon"] == epsilon) | means["epsilon"].isna()
        own = means[(means["manipulator"] == model) & budget]
        for j, (metric, label) in enumerate(METRICS.items()):
            axes: Axes = grid[i, j]
            _panel(axes, own, metric, styles)
            if i == 0:
                axes.set_title(label)
            if j == 0:
                axes.set_ylabel(model if len(there) < 2 else f"{model}, ε = {epsilon:g}")
            if i == len(bands) - 1:
                axes.set_xlabel("perturbation level")
    handles = [Line2D([], [], label=name, **styles[name]) for name in names]
    figure.legend(handles=handles, loc="upper center", ncols=min(6, len(names)), frameon=False, handlelength=2.4)
    remarks = [f"void: {void}"] if void else []
    remarks += [f"partial: as few as {int(means['n'].min())} images"] if partial else []
    if remarks:
        figure.text(
            0.5, 1 - (legend_height - 0.02) / height, "; ".join(remarks), ha="center", va="bottom", color="#B00000"
        )
    return figure


def style(name: str, entries: list[str]) -> dict[str, Any]:
    """How a protector's line is drawn; the methods of the paper look the same in every figure."""
    if name in _DASHES:
        return {"color": _GREYS[name], "linestyle": _DASHES[name], "linewidth": 0.9, "zorder": 1.5}
    order = [*METHODS, *(entry for entry in entries if entry not in METHODS)]
    place = order.index(name)
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 3.2,
        "markeredgewidth": 0,
        "linewidth": 1.1,
        "zorder": 2.5,
    }


def _panel(axes: Axes, means: pd.DataFrame, metric: str, styles: dict[str, dict[str, Any]]) -> None:
    for name, style in styles.items():
        line = means[means["protector"] == name].sort_values("level")
        level = line["level"].to_numpy()
        axes.plot(level, line[metric].to_numpy(), **style)
        if "marker" in style:
            low, high = line[f"{metric}_low"].to_numpy(), line[f"{metric}_high"].to_numpy()
            axes.fill_between(level, low, high, color=style["color"], alpha=0.15, linewidth=0, zorder=2)
    axes.set_xticks(np.unique(means["level"]))
    if metric in _SHARES:
        axes.set_ylim(-0.04, 1.04)
        axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
