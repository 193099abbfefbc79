"""Transfer as a heat map: what a protector that was made against one manipulator does to the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import budgets, manipulators, methods, require_complete
from arsbench.reports.tables.table3 import matrix
from arsbench.scoring import statistics

METRICS = {"sr": "SR", "sr_strict": r"SR$_{\mathrm{strict}}$"}
_WIDTH = 7.0
_SIDE = 1.7
_DARK = 0.55
"""From this share on, a cell's number is white."""


def draw(rows: pd.DataFrame, partial: bool = False, void: str | None = None) -> Figure:
    """A row of panels per metric and a panel per protector; in a panel a row for each manipulator protected against.

    The mean over the perturbations at the strongest level; a pair that was not run is left empty.

    Raises:
        ArsbenchError: no transfer among the rows, several budgets, or (unless ``partial``) missing cells or images.
    """
    require_complete(rows, partial)
    rows, level = matrix(rows)
    there = budgets(rows)
    if len(there) > 1:
        listed = ", ".join(f"{epsilon:g}" for epsilon in there)
        raise ArsbenchError(f"a plot of transfer is of one budget, and the rows have {listed}; choose with --epsilon")
    names = methods(rows)
    makers, models = sorted(set(rows["made_against"])), manipulators(rows)
    across = min(len(names), 4)
    down = -(-len(names) // across)
    figure = Figure(figsize=(_WIDTH, _SIDE * down * len(METRICS) + 0.5), layout="constrained")
    grid = figure.subplots(down * len(METRICS), across, squeeze=False)
    for band, (metric, label) in enumerate(METRICS.items()):
        shares = _shares(rows, metric)
        for place in range(down * across):
            axes: Axes = grid[band * down + place // across, place % across]
            if place >= len(names):
                axes.axis("off")
                continue
            _panel(axes, np.array([[shares.get((names[place], a, b), np.nan) for b in models] for a in makers]))
            axes.set_title(f"{names[place]}, {label}")
            axes.set_xticks(range(len(models)), models, rotation=30, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(makers)), makers if place % across == 0 else [""] * len(makers))
            if place % across == 0:
                axes.set_ylabel("protected against")
    figure.supxlabel("evaluated on", fontsize=8)
    remarks = [f"level {level}, epsilon {there[0]:g}", *([f"void: {void}"] if void else [])]
    figure.suptitle("; ".join(remarks), fontsize=8, color="#B00000" if void else "black")
    return figure


def _shares(rows: pd.DataFrame, metric: str) -> dict[tuple[str, str, str], float]:
    found = {}
    for maker, own in rows.groupby("made_against"):
        for line in statistics.averages(own, ("protector", "manipulator"), (metric,)).to_dict("records"):
            found[line["protector"], str(maker), line["manipulator"]] = float(line[metric])
    return found


def _panel(axes: Axes, shares: npt.NDArray[np.float64]) -> None:
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        if np.isfinite(share):
            colour = "white" if share > _DARK else "black"
            axes.text(j, i, f"{share:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axes.tick_params(length=0)
