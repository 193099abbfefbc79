"""What a run leaves for people: summary, tables and figures. One module per output format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arsbench.contracts import ArsbenchError

if TYPE_CHECKING:
    import pandas as pd

    from arsbench.reports.table import Table

TABLES = ("leaderboard", "1", "2", "3", "4", "5", "6")
"""The tables there are: the leaderboard, and the paper's by number."""
PLOTS = ("figure5", "pareto", "transfer")
"""The plots there are."""
FORMATS = {"markdown": "md", "latex": "tex", "csv": "csv"}
"""The formats of a table, each with its file suffix."""

# Matplotlib and the tables are imported on use, so that importing the package stays quick.


def render_table(
    kind: str,
    rows: pd.DataFrame,
    format: str = "markdown",
    partial: bool = False,
    void: str | None = None,
    intervals: bool | None = None,
) -> str:
    """A table as text, from one row per image and cell.

    Args:
        kind: one of :data:`TABLES`.
        rows: the rows of one or more runs.
        format: one of :data:`FORMATS`.
        partial: show what there is, with n, where cells or images are missing.
        void: why the run is void, if it is; stands in a note.
        intervals: whether numbers are shown with their intervals; by default in Markdown, and not in LaTeX, where they
            take room. CSV has them always.

    Raises:
        ArsbenchError: unknown kind or format, rows that do not suffice, or (unless ``partial``) missing cells
            or images.
    """
    from arsbench.reports.tables import tables

    check_format(format)
    return render_tables(tables(kind, rows, partial, void), format, void, intervals)


def check_format(format: str) -> None:
    """Raises ArsbenchError unless there is such a format of a table."""
    if format not in FORMATS:
        raise ArsbenchError(f"there is no table format '{format}'; there are: {', '.join(FORMATS)}")


def render_tables(made: Sequence[Table], format: str, void: str | None = None, intervals: bool | None = None) -> str:
    """Tables of one kind as text; arguments as of :func:`render_table`."""
    from arsbench.reports import csv, latex, markdown

    if format == "csv":
        return csv.render(made, void)
    if format == "markdown":
        return "\n".join(markdown.render(table, intervals is not False) for table in made)
    return "\n".join(latex.render(table, bool(intervals)) for table in made)


def render_plot(kind: str, rows: pd.DataFrame, path: Path, partial: bool = False, void: str | None = None) -> None:
    """Draws one of :data:`PLOTS` into ``path``, whose suffix (png, pdf, svg) is the format.

    Raises:
        ArsbenchError: unknown kind or format, rows that do not suffice, a path that cannot be written, or (unless
            ``partial``) missing cells or images.
    """
    from arsbench.reports import figures

    figures.save(kind, rows, [Path(path)], partial, void)


def write(run_folder: Path, rows: pd.DataFrame, partial: bool = False, void: str | None = None) -> list[Path]:
    """Writes ``summary.csv``, ``tables/`` and ``figures/`` into a run's folder, and returns the files' paths.

    A table or figure that the run is not about is left out: Table 1 without level 0, Table 3 without transfer, Table 6
    without perturbations, Figure 5 with one level.

    Raises:
        ArsbenchError: the folder cannot be written, or (unless ``partial``) cells or images are missing.
    """
    from arsbench.reports import figures, summary
    from arsbench.reports.selection import require_complete
    from arsbench.reports.tables import applies, tables

    require_complete(rows, partial)
    run_folder = Path(run_folder)
    texts = {run_folder / "summary.csv": summary.render(rows, void)}
    for kind in TABLES:
        if not applies(kind, rows):
            continue
        stem = kind if kind == "leaderboard" else f"table{kind}"
        made = tables(kind, rows, partial, void)
        for format, suffix in FORMATS.items():
            texts[run_folder / "tables" / f"{stem}.{suffix}"] = render_tables(made, format, void)
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        (run_folder / "figures").mkdir(exist_ok=True)
    except OSError as error:
        raise ArsbenchError(f"the folder {run_folder} cannot be written: {error.strerror or error}") from error
    drawn: list[Path] = []
    for kind in figures.of_run(rows):
        paths = [run_folder / "figures" / f"{kind}.{suffix}" for suffix in ("png", "pdf")]
        figures.save(kind, rows, paths, partial, void)
        drawn += paths
    return [*texts, *drawn]
