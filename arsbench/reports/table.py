"""A table as data: what every output format is made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple


class Value(NamedTuple):
    """A number and the ends of its 95 % interval; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


Cell = str | int | float | Value | None
"""``None`` is an empty cell."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: plain text, unique in the table.
        better: ``"higher"``, ``"lower"`` or ``None``; shown as an arrow.
        digits: after the decimal point.
        interval: whether the interval is shown as plus or minus half its width.
        grouped: whether a value is shown only where it changes.
        essential: whether a narrow terminal keeps the column.
        short: the name where there is little room; empty for the name itself.
        compared: whether the column's numbers are compared with those of other columns, see :class:`Table`.
        prose: whether the cells are sentences, which take several lines where there is no room for one.
    """

    name: str
    better: str | None = None
    digits: int = 3
    interval: bool = False
    grouped: bool = False
    essential: bool = False
    short: str = ""
    compared: bool = False
    prose: bool = False


@dataclass(frozen=True)
class Row:
    """One line: a cell per column, and a remark on the line that becomes a footnote.

    Attributes:
        cells: one per column.
        remark: about the line.
        compared: whether its numbers are compared with those of the block's other lines: not those of a control.
    """

    cells: tuple[Cell, ...]
    remark: str = ""
    compared: bool = False


@dataclass(frozen=True)
class Block:
    """Lines that belong together, with a label of their own or none."""

    rows: tuple[Row, ...]
    label: str = ""


@dataclass(frozen=True)
class Table:
    """A table without a format.

    The best and the second of the numbers that are compared are emphasised: of the lines of a block in every column
    that says what is better or, with ``across``, of the columns in every line.

    Attributes:
        title: a phrase without a full stop.
        name: for a reference to the table, letters and hyphens.
        columns: what the cells are.
        blocks: the lines, separated by rules.
        notes: sentences under the table.
        index: names that hold for the whole table, such as its manipulator; columns of their own in CSV.
        text_column: the column that a remark's mark stands in.
        across: whether the protectors are columns, so that numbers are compared along a line.
    """

    title: str
    name: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    index: tuple[tuple[str, str], ...] = ()
    text_column: int = 0
    across: bool = False

    @property
    def rows(self) -> list[Row]:
        """All lines."""
        return [row for block in self.blocks for row in block.rows]

    @property
    def remarks(self) -> list[str]:
        """The different remarks, in the order of the lines."""
        return list(dict.fromkeys(row.remark for row in self.rows if row.remark))


def heading(column: Column, short: bool = False) -> str:
    """The column's name with the arrow of what is better for protection."""
    name = (short and column.short) or column.name
    arrow = {"higher": "↑", "lower": "↓"}.get(column.better or "")
    return f"{name} {arrow}" if arrow else name


def number(value: float, digits: int) -> str:
    """Fixed digits; an en dash for NaN; small positive numbers keep two significant digits."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if 0 < abs(value) < 0.5 * 10**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def text(cell: Cell, column: Column, plus_minus: str = " ± ") -> str:
    """A cell as plain text."""
    if cell is None:
        return ""
    if isinstance(cell, Value):
        shown = number(cell.value, column.digits)
        half = (cell.high - cell.low) / 2
        return f"{shown}{plus_minus}{half:.{column.digits}f}" if column.interval and math.isfinite(half) else shown
    return number(cell, column.digits) if isinstance(cell, float) else str(cell)


BEST, SECOND = "best", "second"


def emphasis(table: Table) -> list[list[list[str]]]:
    """For every block's lines and cells :data:`BEST`, :data:`SECOND` or nothing; numbers that look equal share it."""
    blocks = []
    for block in table.blocks:
        marks = [[""] * len(table.columns) for _ in block.rows]
        if table.across:
            places = [[(i, j) for j, c in enumerate(table.columns) if c.compared] for i in range(len(block.rows))]
        else:
            lines = [i for i, row in enumerate(block.rows) if row.compared]
            places = [[(i, j) for i in lines] for j in range(len(table.columns))]
        for group in places:
            for (i, j), mark in _two_best(block, table.columns, group).items():
                marks[i][j] = mark
        blocks.append(marks)
    return blocks


def _two_best(block: Block, columns: Sequence[Column], places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Of the cells at these places, those that show the best number and those that show the next."""
    shown: dict[tuple[int, int], float] = {}
    for i, j in places:
        cell, column = block.rows[i].cells[j], columns[j]
        value = cell.value if isinstance(cell, Value) else cell
        if column.better and isinstance(value, float) and math.isfinite(value):
            sign = 1 if column.better == "higher" else -1
            shown[i, j] = sign * float(number(value, column.digits))
    order = sorted(set(shown.values()), reverse=True)
    if len(shown) < 2 or len(order) < 2:
        return {}
    return {place: BEST if value == order[0] else SECOND for place, value in shown.items() if value in order[:2]}


MARKS = "*†‡§¶"


def marked_cells(table: Table, plus_minus: str = " ± ", intervals: bool = True) -> list[list[list[str]]]:
    """Every block's lines as plain texts: grouped cells blank where they repeat, remarks as marks."""
    columns = [column if intervals else replace(column, interval=False) for column in table.columns]
    remarks = table.remarks
    blocks: list[list[list[str]]] = []
    shown: tuple[str, ...] = ()
    for block in table.blocks:
        lines: list[list[str]] = []
        for row in block.rows:
            line = [text(cell, column, plus_minus) for cell, column in zip(row.cells, columns, strict=True)]
            lead = tuple(value for value, column in zip(line, table.columns, strict=True) if column.grouped)
            for i in range(len(lead)):
                if lead[: i + 1] == shown[: i + 1]:
                    line[i] = ""
            shown = lead
            if row.remark:
                line[table.text_column] += MARKS[remarks.index(row.remark) % len(MARKS)]
            lines.append(line)
        blocks.append(lines)
    return blocks


def footnotes(table: Table) -> list[str]:
    """The notes, then what the marks mean."""
    return [*table.notes, *(f"{MARKS[i % len(MARKS)]} {remark}." for i, remark in enumerate(table.remarks))]
