"""Table 4 of the paper, from the times in a run's rows; :mod:`arsbench.reports.speed` has those measured alone."""

from __future__ import annotations

import pandas as pd

from arsbench.reports.selection import controls, manipulators, methods
from arsbench.reports.table import Block, Column, Row, Table
from arsbench.reports.tables.pieces import INTERVALS, counted, lines, setting, value


def table4(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """Table 4 of the paper: seconds per image of protecting, a column per manipulator."""
    found = lines(rows, ("protector", "manipulator"), ("seconds",))
    models = manipulators(rows)

    def row(name: str) -> Row:
        own = [found.get((name, model)) for model in models]
        n = [int(line["n"]) for line in own if line] if partial else []
        cells = (name, *(value(line, "seconds") if line else None for line in own), *([min(n)] if n else []))
        return Row(cells, compared=name in methods(rows))

    blocks = [Block(tuple(map(row, methods(rows))))] if methods(rows) else []
    there = controls(rows)
    if there:
        blocks.append(Block(tuple(map(row, there)), "controls"))
    columns = (
        Column("protector", essential=True),
        *(Column(model, "lower", 4, interval=True, essential=True) for model in models),
        *counted(partial),
    )
    title = f"Seconds per image of protecting ({setting(rows)})"
    machine = "Times are of the machine that ran this, and of its batches; arsbench speed RUN measures them alone."
    return [Table(title, "table-4", columns, tuple(blocks), (machine, INTERVALS, *notes))]
