"""Tables for the terminal, as rich renderables that fit its width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import rich.table
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from arsbench.reports.table import Table, footnotes, heading, marked_cells
from arsbench.reports.tables import applies, tables


@dataclass(frozen=True)
class Fitted:
    """A table that leaves out columns, the least essential first, where the terminal is too narrow."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the widest version that fits, then the notes."""
        columns = list(range(len(self.table.columns)))
        optional = [i for i in columns if not self.table.columns[i].essential]
        unlimited = options.update(max_width=10_000)
        while optional and console.measure(self._draw(columns), options=unlimited).maximum > options.max_width:
            columns.remove(optional.pop())
        yield self._draw(columns)
        hidden = len(self.table.columns) - len(columns)
        notes = list(footnotes(self.table))
        if hidden:
            notes.append(f"{hidden} columns do not fit this terminal; they are in the Markdown, LaTeX and CSV tables.")
        for note in notes:
            yield Text(note, style="dim")

    def _draw(self, columns: Sequence[int]) -> rich.table.Table:
        drawn = rich.table.Table(
            title=Text(self.table.title), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False
        )
        text = {i for row in self.table.rows for i, cell in enumerate(row.cells) if isinstance(cell, str)}
        for i in columns:
            drawn.add_column(
                Text(heading(self.table.columns[i], short=True)), justify="left" if i in text else "right", no_wrap=True
            )
        for number, (block, lines) in enumerate(zip(self.table.blocks, marked_cells(self.table), strict=True)):
            if number:
                drawn.add_section()
            style = "dim" if block.label else None
            for line in lines:
                drawn.add_row(*(Text(line[i]) for i in columns), style=style)
        return drawn


def leaderboard(rows: pd.DataFrame, partial: bool = False, void: str | None = None) -> Group:
    """The leaderboard as a rich renderable, one for each budget; of a run about transfer alone, Table 3.

    Raises:
        ArsbenchError: cells or images are missing, unless ``partial``.
    """
    kind = "leaderboard" if applies("leaderboard", rows) else "3"
    return Group(*map(Fitted, tables(kind, rows, partial, void)))
