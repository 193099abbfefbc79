"""A table as GitHub-flavoured Markdown."""

from __future__ import annotations

from arsbench.reports.table import Cell, Table, footnotes, heading, marked_cells


def render(table: Table) -> str:
    """The title in bold, the table, the notes; ends with a newline."""
    head = [_escape(heading(column)) for column in table.columns]
    sides = [":--" if _is_text(table, i) else "--:" for i in range(len(head))]
    lines = [f"**{_escape(table.title)}**", "", _line(head), _line(sides)]
    for block, texts in zip(table.blocks, marked_cells(table), strict=True):
        if block.label:
            label = [""] * len(head)
            label[table.text_column] = f"*{_escape(block.label)}*"
            lines.append(_line(label))
        lines += [_line([_escape(text) for text in line]) for line in texts]
    for note in footnotes(table):
        lines += ["", _escape(note)]
    return "\n".join(lines) + "\n"


def _is_text(table: Table, column: int) -> bool:
    cells: list[Cell] = [row.cells[column] for row in table.rows]
    return any(isinstance(cell, str) for cell in cells)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    for special in "\\|*_`<>":
        text = text.replace(special, f"\\{special}")
    return text
