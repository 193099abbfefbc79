"""Tables as CSV: every number in full, the interval in columns of its own."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from arsbench.reports.table import Cell, Table, Value


def render(tables: Sequence[Table], void: str | None = None) -> str:
    """All tables under one header; a NaN is an empty field.

    The first column, ``block``, tells the controls from the ranked, where a table has such blocks; remarks stand in the
    last column, ``remark``, and a void run's reason in ``void``.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    index = [name for name, _ in tables[0].index]
    labelled = any(block.label for table in tables for block in table.blocks)
    valued = [_has_interval(tables, i) for i in range(len(tables[0].columns))]
    header = [*(["block"] if labelled else []), *index]
    for column, interval in zip(tables[0].columns, valued, strict=True):
        header += [column.name, *([f"{column.name} low", f"{column.name} high"] if interval else [])]
    writer.writerow([*header, "remark", *(["void"] if void else [])])
    for table in tables:
        for block in table.blocks:
            for row in block.rows:
                line = [*([block.label] if labelled else []), *(value for _, value in table.index)]
                for cell, interval in zip(row.cells, valued, strict=True):
                    line += _fields(cell, interval)
                writer.writerow([*line, row.remark, *([void] if void else [])])
    return out.getvalue()


def _has_interval(tables: Sequence[Table], column: int) -> bool:
    cells = (row.cells[column] for table in tables for row in table.rows)
    return any(isinstance(cell, Value) for cell in cells)


def _fields(cell: Cell, interval: bool) -> list[str]:
    if isinstance(cell, Value):
        return [_plain(cell.value), _plain(cell.low), _plain(cell.high)]
    return [_plain(cell), *(["", ""] if interval else [])]


def _plain(cell: str | int | float | None) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    # Nine digits are more than the rows agree to between machines, and hide the last bits of a sum.
    return f"{cell:.9g}" if isinstance(cell, float) else str(cell)
