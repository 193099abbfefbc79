"""A table as LaTeX, to be pasted: booktabs and nothing else."""

from __future__ import annotations

from dataclasses import replace

from arsbench.reports.table import Table, footnotes, heading, marked_cells

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "*": r"\textsuperscript{*}",
    "†": r"\textsuperscript{\dag}",
    "‡": r"\textsuperscript{\ddag}",
    "§": r"\textsuperscript{\S}",
    "¶": r"\textsuperscript{\P}",
}
_CROWDED = 12
"""Beyond so many columns, the type is smaller."""
_WIDE = 8
"""From so many columns on, a table spans both columns of a two-column paper."""


def render(table: Table) -> str:
    """A ``table`` environment with caption and label; the only package it needs is booktabs."""
    count = len(table.columns)
    environment = "table*" if count >= _WIDE else "table"
    texts = [index for index in range(count) if any(isinstance(row.cells[index], str) for row in table.rows)]
    sides = "".join("l" if index in texts else "r" for index in range(count))
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{{environment}}}[t]",
        r"\centering",
        r"\scriptsize" if count > _CROWDED else r"\footnotesize",
        rf"\setlength{{\tabcolsep}}{{{2 if count > _CROWDED else 3}pt}}",
        rf"\caption{{{escape(table.title)}.}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{@{{}}{sides}@{{}}}}",
        r"\toprule",
        *_head(table),
    ]
    for block, block_lines in zip(table.blocks, marked_cells(table), strict=True):
        lines.append(r"\midrule")
        if block.label:
            lines.append(rf"\multicolumn{{{count}}}{{@{{}}l}}{{\textit{{{escape(block.label)}}}}} \\")
        lines += [_line([escape(text) for text in line]) for line in block_lines]
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = footnotes(table)
    if notes:
        width = r"\textwidth" if environment == "table*" else r"\columnwidth"
        joined = " ".join(escape(note) for note in notes)
        lines += ["", rf"\smallskip\parbox{{{width}}}{{\scriptsize {joined}}}"]
    return "\n".join([*lines, rf"\end{{{environment}}}"]) + "\n"


def _head(table: Table) -> list[str]:
    """The headings; names of two words in two lines, to save width."""
    upper, lower = [], []
    for column in table.columns:
        name = heading(replace(column, better=None), short=True)
        first, _, rest = name.partition(" ")
        upper.append(first if rest else "")
        lower.append(heading(replace(column, name=rest or name, short="")))
    lines = [upper, lower] if any(upper) else [lower]
    return [_line([escape(name) for name in line]) for line in lines]


def escape(text: str) -> str:
    """Plain text as LaTeX; characters outside ASCII that are not known stay, for UTF-8 input."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
