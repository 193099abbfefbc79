"""Table 3 of the paper."""

from __future__ import annotations

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import methods, trained_on
from arsbench.reports.table import Block, Cell, Column, Row, Table
from arsbench.reports.tables.pieces import INTERVALS, LABELS, counted, lines, setting, value


def matrix(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows that show transfer, every one with the manipulator that it was protected against, and their level.

    The level is the strongest that any transfer was evaluated at.

    Raises:
        ArsbenchError: nothing was evaluated on another manipulator than it was made against.
    """
    rows = rows[rows["protector"].isin(methods(rows))]
    transfer = rows[trained_on(rows) != ""]
    if transfer.empty:
        raise ArsbenchError(
            "transfer is from one manipulator to another, and the rows have none; run with --trained-on, such as "
            "--trained-on all --manipulator all"
        )
    level = int(transfer["level"].max())
    rows = rows[(rows["level"] == level) & rows["protector"].isin(methods(transfer))]
    made = trained_on(rows)
    return rows.assign(made_against=made.where(made != "", rows["manipulator"])), level


def table3(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """Table 3 of the paper: success against a manipulator that the protector was not made against.

    The paper gives SR between pSp-mix and StyleCLIP; here are all pairs of the rows, those of a manipulator with itself
    for comparison, and sr_strict below.

    Raises:
        ArsbenchError: no transfer among the rows.
    """
    rows, level = matrix(rows)
    metrics = ("sr", "sr_strict")
    shown = methods(rows)
    found = {}
    for maker, own in rows.groupby("made_against"):
        for (model, name), line in lines(own, ("manipulator", "protector"), metrics).items():
            found[str(maker), model, name] = line
    columns = (
        Column("protected against", grouped=True, essential=True),
        Column("evaluated on", essential=True),
        *(Column(name, "higher", interval=True, essential=True, compared=True) for name in shown),
        *counted(partial),
    )

    def row(maker: str, model: str, metric: str) -> Row:
        own = [found.get((maker, model, name)) for name in shown]
        cells: list[Cell] = [maker, model, *(value(line, metric) if line else None for line in own)]
        return Row((*cells, *([min(int(line["n"]) for line in own if line)] if partial else [])))

    pairs = sorted({(maker, model) for maker, model, _ in found})
    blocks = tuple(Block(tuple(row(*pair, metric) for pair in pairs), LABELS[metric]) for metric in metrics)
    title = f"Transfer from one manipulator to another, mean over the perturbations ({setting(rows, level)})"
    return [Table(title, "table-3", columns, blocks, (INTERVALS, *notes), across=True)]
