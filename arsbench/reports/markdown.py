"""A table as GitHub-flavoured Markdown."""

from __future__ import annotations

from arsbench.reports.table import BEST, SECOND, Cell, Table, emphasis, footnotes, heading, marked_cells


def render(table: Table, intervals: bool = True) -> str:
    """The title in bold, the table, the notes; ends with a newline. The best is bold, the second underlined.

    Args:
        table: the numbers.
        intervals: half the width of the interval behind every number that has one.
    """
    head = [_escape(heading(column)) for column in table.columns]
    sides = [":--" if _is_text(table, i) else "--:" for i in range(len(head))]
    lines = [f"**{_escape(table.title)}**", "", _line(head), _line(sides)]
    shown = zip(table.blocks, marked_cells(table, intervals=intervals), emphasis(table), strict=True)
    for block, texts, marks in shown:
        if block.label:
            label = [""] * len(head)
            label[table.text_column] = f"*{_escape(block.label)}*"
            lines.append(_line(label))
        lines += [_line(list(map(_emphasised, line, mark))) for line, mark in zip(texts, marks, strict=True)]
    for note in footnotes(table):
        lines += ["", _escape(note)]
    return "\n".join(lines) + "\n"


def _emphasised(text: str, mark: str) -> str:
    """The number, not its interval, in bold or underlined."""
    shown, plus_minus, half = text.partition(" ±")
    around = {BEST: "**{}**", SECOND: "<ins>{}</ins>"}.get(mark, "{}")
    return around.format(_escape(shown)) + plus_minus + half


def _is_text(table: Table, column: int) -> bool:
    cells: list[Cell] = [row.cells[column] for row in table.rows]
    return any(isinstance(cell, str) for cell in cells)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    for special in "\\|*_`<>":
        text = text.replace(special, f"\\{special}")
    return text
