"""A table as LaTeX, to be pasted: booktabs and nothing else.

It fits a page of ``article``, in one column and in two: what is too wide for a column spans both, and what is too wide
for that is divided into panels, one above the other. Widths are computed from Computer Modern's metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from arsbench.reports.table import BEST, MARKS, Block, Table, emphasis, footnotes, heading, marked_cells

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
    "→": r"$\rightarrow$",
    "ε": r"$\epsilon$",
    "–": "--",
    "*": r"\textsuperscript{*}",
    "†": r"\textsuperscript{\dag}",
    "‡": r"\textsuperscript{\ddag}",
    "§": r"\textsuperscript{\S}",
    "¶": r"\textsuperscript{\P}",
}
NAMES = {
    "fgsm": "FGSM",
    "pgd": "PGD",
    "disrupt": "Disrupt",
    "tafim": "TAFIM",
    "eot_pgd": "EoT-PGD",
    "ars": "ARS",
    "ars_basic": "Basic",
    "ars_basic_with_robust": "Basic w/ Robust",
    "ars_non_lossy": "non-lossy ARS",
    "ars_without_adv": "ARS w/o Adv",
    "ars_full": "ARS (full)",
    "psp-mix": "pSp-mix",
    "psp-recon": "pSp-recon",
    "simswap": "SimSwap",
    "styleclip": "StyleCLIP",
}
"""Names of methods as papers write them; others stand as they are."""
_MATHS = {
    "SR_mask": r"$\mathrm{SR}_{mask}$",
    "sr_strict": r"$\mathrm{SR}_{strict}$",
    "sr_strict_worst": r"$\mathrm{SR}_{worst}$",
    "worst": r"$\mathrm{SR}_{worst}$",
    "epsilon": r"$\epsilon$",
}
_TALL, _TALLEST = 44, 50
"""Lines from which the type is small, and that a page has room for in it."""
_TALLEST_PROSE = 6
"""Lines of sentences, each as tall as several."""
_HEAD = 5
"""Lines that a panel's headings and rules take."""
_COLUMN, _PAGE = 226.0, 341.0
"""Points that a table may take in a column of two, and across the page of ``article``, whose text is 345 wide."""


@dataclass(frozen=True)
class _Size:
    """A size of type: its command, how wide it is beside 10 points, and the space on either side of a column."""

    command: str
    scale: float
    space: float


# Small sizes of Computer Modern are wider than large ones made smaller.
_SIZES = (
    _Size(r"\footnotesize", 0.8 * 1.06, 3.0),
    _Size(r"\scriptsize", 0.7 * 1.14, 2.0),
    _Size(r"\scriptsize", 0.7 * 1.14, 1.2),
)
_TINY = 0.5 * 1.36
# Thousandths of the size, of cmr10.
_WIDTHS = {
    **dict.fromkeys("0123456789$#?", 500),
    **dict(zip("abcdefghijklm", (500, 556, 444, 556, 444, 306, 500, 556, 278, 306, 528, 278, 833), strict=True)),
    **dict(zip("nopqrstuvwxyz", (556, 500, 556, 528, 392, 394, 389, 556, 528, 722, 528, 528, 444), strict=True)),
    **dict(zip("ABCDEFGHIJKLM", (750, 708, 722, 764, 681, 653, 785, 750, 361, 514, 778, 625, 917), strict=True)),
    **dict(zip("NOPQRSTUVWXYZ", (750, 778, 681, 778, 736, 556, 722, 750, 750, 1028, 750, 750, 611), strict=True)),
    **{" ": 333, ".": 278, ",": 278, "-": 333, "/": 500, "(": 389, ")": 389, "↑": 640, "↓": 640, "–": 500},
}
_BOLD = 1.16


def render(table: Table, intervals: bool = False) -> str:
    """A ``table`` environment with caption and label; the only package it needs is booktabs.

    The best of what is compared is bold and the second underlined.

    Args:
        table: the numbers.
        intervals: half the width of the interval behind every number that has one, in small type.
    """
    return "\n".join(_float(part, intervals) for part in _pages(table))


def _pages(table: Table) -> list[Table]:
    """The table, or parts of it that are no taller than a page; blocks are kept whole."""
    tallest = _TALLEST_PROSE if any(column.prose for column in table.columns) else _TALLEST
    parts: list[list[Block]] = [[]]
    for block in table.blocks:
        if parts[-1] and sum(len(other.rows) for other in parts[-1]) + len(block.rows) > tallest:
            parts.append([])
        parts[-1].append(block)
    if len(parts) == 1:
        return [table]
    made = []
    for number, blocks in enumerate(parts, 1):
        told = {} if number == 1 else {"title": f"{table.title}, continued", "name": f"{table.name}-{number}"}
        made.append(replace(table, blocks=tuple(blocks), **told))  # type: ignore[arg-type]
    return made


def _float(table: Table, intervals: bool) -> str:
    cells = _Cells(table, intervals)
    size, panels = _fit(table, cells)
    if len(panels) > 1 and len(panels) * (len(table.rows) + _HEAD) > _TALL:
        parts = enumerate(panels, 1)
        floats = [(f"{table.title}, part {number}", f"{table.name}-part-{number}", panel) for number, panel in parts]
        return "\n".join(
            _one_float(replace(table, title=title, name=name), cells, size, [panel], intervals)
            for title, name, panel in floats
        )
    return _one_float(table, cells, size, panels, intervals)


def _one_float(table: Table, cells: _Cells, size: _Size, panels: Sequence[Sequence[int]], intervals: bool) -> str:
    widest = max(cells.width(panel, size) for panel in panels)
    environment = "table*" if widest > _COLUMN or cells.prose else "table"
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{{environment}}}[t]",
        r"\centering\sloppy",
        size.command,
        rf"\setlength{{\tabcolsep}}{{{size.space:g}pt}}",
        rf"\caption{{{escape(table.title)}.}}",
        rf"\label{{tab:{table.name}}}",
    ]
    for number, panel in enumerate(panels):
        lines += ([r"\par\medskip"] if number else []) + _tabular(table, cells, panel, size)
    notes = [note for note in footnotes(table) if intervals or not note.startswith("±")]
    notes = notes if intervals else [_without_interval(note) for note in notes]
    if notes:
        joined = " ".join(escape(note) for note in notes)
        lines += ["", rf"\smallskip\parbox{{\linewidth}}{{\sloppy\scriptsize {joined}}}"]
    return "\n".join([*lines, rf"\end{{{environment}}}"]) + "\n"


def _without_interval(note: str) -> str:
    """A note without its sentence about intervals that are not shown."""
    before, mark, _ = note.partition("±")
    return before.rstrip("; ") + ("." if mark and not before.rstrip().endswith(".") else "") if mark else note


class _Cells:
    """Every cell as LaTeX with its width at 10 points."""

    def __init__(self, table: Table, intervals: bool) -> None:
        plus_minus = "±"
        marks = emphasis(table)
        self.heads = [_heads(heading(column, short=True)) for column in table.columns]
        self.blocks: list[list[list[str]]] = []
        self._widths = [max(map(_width, upper_lower)) * 1.0 for upper_lower in self.heads]
        self._tiny = [0.0] * len(table.columns)
        self.prose = [j for j, column in enumerate(table.columns) if column.prose]
        for block, lines in zip(marks, marked_cells(table, plus_minus, intervals), strict=True):
            made = []
            for line_marks, line in zip(block, lines, strict=True):
                made.append(
                    [self._cell(j, text, mark) for j, (text, mark) in enumerate(zip(line, line_marks, strict=True))]
                )
            self.blocks.append(made)

    def _cell(self, column: int, text: str, mark: str) -> str:
        shown, _, half = text.partition("±")
        name = shown.rstrip(MARKS)
        shown = NAMES.get(name, name) + shown[len(name) :]
        wide = _width(shown) * (_BOLD if mark == BEST else 1)
        if column not in self.prose:
            self._widths[column] = max(self._widths[column], wide)
        latex = _MATHS.get(shown) or escape(shown)
        if mark:
            latex = rf"\{'textbf' if mark == BEST else 'underline'}{{{latex}}}"
        if half:
            half = half.removeprefix("0") if half.startswith("0.") else half
            self._tiny[column] = max(self._tiny[column], _width(half) + 0.78 * 10)
            latex += rf"{{\tiny$\pm${escape(half)}}}"
        return latex

    def natural(self, column: int, size: _Size) -> float:
        """Points of a column, for prose those of its heading."""
        return self._widths[column] * size.scale + self._tiny[column] * _TINY

    def width(self, columns: Sequence[int], size: _Size) -> float:
        """Points of a tabular of these columns."""
        wide = sum(self.natural(j, size) for j in columns)
        return wide + 2 * size.space * (len(columns) - 1)


def _fit(table: Table, cells: _Cells) -> tuple[_Size, list[list[int]]]:
    """The largest type in which the table fits, and its columns; divided into panels only where none does."""
    everything = list(range(len(table.columns)))
    tall = len(table.rows) > _TALL
    if cells.prose:
        return _SIZES[1], [everything]
    for limit in (_COLUMN, _PAGE):
        for size in _SIZES[1:] if tall else _SIZES:
            if cells.width(everything, size) <= limit:
                return size, [everything]
    size = _SIZES[1 if tall else 0]
    names = [j for j in everything if any(isinstance(row.cells[j], str) for row in table.rows)]
    rest = [j for j in everything if j not in names]
    for count in range(2, len(rest) + 1):
        panels = [sorted([*names, *part]) for part in _even(rest, count)]
        if all(cells.width(panel, size) <= _PAGE for panel in panels):
            return size, panels
    return _SIZES[-1], [sorted([*names, j]) for j in rest]


def _even(items: Sequence[int], parts: int) -> list[list[int]]:
    size = math.ceil(len(items) / parts)
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _tabular(table: Table, cells: _Cells, columns: Sequence[int], size: _Size) -> list[str]:
    texts = [j for j in columns if any(isinstance(row.cells[j], str) for row in table.rows)]
    room = (_PAGE - cells.width(columns, size)) / max(len(cells.prose), 1)
    wide = {j: rf"p{{{cells.natural(j, size) + room:.0f}pt}}" for j in cells.prose}
    sides = "".join(wide.get(j, "l" if j in texts else "r") for j in columns)
    upper = [cells.heads[j][0] for j in columns]
    lower = [cells.heads[j][1] for j in columns]
    lines = [rf"\begin{{tabular}}{{@{{}}{sides}@{{}}}}", r"\toprule"]
    lines += [_line([_maths(name) for name in names]) for names in ([upper, lower] if any(upper) else [lower])]
    for block, made in zip(table.blocks, cells.blocks, strict=True):
        lines.append(r"\midrule")
        if block.label:
            label = _MATHS.get(block.label, escape(block.label))
            lines.append(rf"\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\textit{{{label}}}}} \\")
        lines += [_line([line[j] for j in columns]) for line in made]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _heads(name: str) -> tuple[str, str]:
    """A heading in two lines, to save width; the first is empty for one of a single word."""
    words, arrow = (name[:-2], name[-2:]) if name[-1] in "↑↓" else (name, "")
    words = NAMES.get(words, words)
    first, _, rest = words.partition(" ")
    rest = NAMES.get(rest, rest)
    return (first, rest + arrow) if rest else ("", first + arrow)


def _maths(name: str) -> str:
    """A heading's line as LaTeX."""
    words, arrow = (name[:-2], name[-2:]) if name and name[-1] in "↑↓" else (name, "")
    return _MATHS.get(words, escape(words)) + escape(arrow)


def escape(text: str) -> str:
    """Plain text as LaTeX; characters outside ASCII that are not known stay, for UTF-8 input."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _width(text: str) -> float:
    """Points at a size of 10."""
    words, arrow = (text[:-2], text[-2:]) if text and text[-1] in "↑↓" else (text, "")
    if words in _MATHS:
        words = _MATHS[words].replace(r"$\mathrm{SR}_{", "SR").strip("}$\\")
    return sum(_WIDTHS.get(character, 600) for character in words + arrow) / 100


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
