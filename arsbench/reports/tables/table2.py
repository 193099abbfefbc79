"""Table 2 of the paper."""

from __future__ import annotations

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import TO_BEAT, budgets, controls, manipulators, methods
from arsbench.reports.table import Block, Cell, Column, Row, Table
from arsbench.reports.tables.pieces import INTERVALS, LABELS, counted, images, lines, value


def table2(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """Table 2 of the paper: success by budget, the mean over the perturbations at the strongest level.

    The paper gives SR against pSp-mix; here are every manipulator of the rows, and sr_strict below.

    Raises:
        ArsbenchError: no rows above level 0.
    """
    level = int(rows["level"].max())
    if level == 0:
        raise ArsbenchError("table 2 is about perturbed pictures, and the rows have none above level 0")
    rows = rows[rows["level"] == level]
    metrics = ("sr", "sr_strict")
    found = lines(rows, ("manipulator", "epsilon", "protector"), metrics)
    shown = [*methods(rows), *controls(rows, TO_BEAT)]
    columns = (
        Column("manipulator", grouped=True, essential=True),
        Column("epsilon", essential=True),
        *(Column(name, "higher", interval=True, essential=True, compared=name not in controls(rows)) for name in shown),
        *counted(partial),
    )

    def row(model: str, epsilon: float, metric: str) -> Row:
        own = [found.get((model, str(epsilon), name)) for name in shown]
        cells: list[Cell] = [model, f"{epsilon:g}", *(value(line, metric) if line else None for line in own)]
        return Row((*cells, *([min(int(line["n"]) for line in own if line)] if partial else [])))

    here = [(model, epsilon) for model in manipulators(rows) for epsilon in budgets(rows[rows["manipulator"] == model])]
    blocks = tuple(Block(tuple(row(*pair, metric) for pair in here), LABELS[metric]) for metric in metrics)
    title = f"Success by budget, mean over the perturbations (level {level}, {images(rows)})"
    learned = "A learned protector is one model at all budgets, trained at the epsilon that its card names."
    return [Table(title, "table-2", columns, blocks, (learned, INTERVALS, *notes), across=True)]
