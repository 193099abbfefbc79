"""Table 1 of the paper."""

from __future__ import annotations

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import controls, manipulators, methods
from arsbench.reports.table import Block, Column, Table
from arsbench.reports.tables.pieces import INTERVALS, column, counted, lines, paper_row, setting


def table1(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """Table 1 of the paper: protection without perturbation, per manipulator.

    Raises:
        ArsbenchError: no rows at level 0.
    """
    rows = rows[rows["level"] == 0]
    if rows.empty:
        raise ArsbenchError("table 1 is about pictures without perturbation, and the rows have none at level 0")
    metrics = ("mse", "lpips", "ssim", "psnr")
    found = lines(rows, ("manipulator", "protector"), metrics)
    shown = [*methods(rows), *controls(rows)]
    blocks = tuple(
        Block(
            tuple(
                paper_row((model, name), found[model, name], metrics, partial)
                for name in shown
                if (model, name) in found
            )
        )
        for model in manipulators(rows)
    )
    columns = (
        Column("manipulator", grouped=True, essential=True),
        Column("protector", essential=True),
        *(column(metric, interval=True, essential=True) for metric in metrics),
        *counted(partial),
    )
    title = f"Performance without perturbation ({setting(rows)})"
    return [Table(title, "table-1", columns, blocks, (INTERVALS, *notes), (), 1)]
