"""``arsbench table`` and ``arsbench plot``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arsbench.cli.output import DONE, say

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@click.argument("kind")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_", default="markdown", show_default=True, help="markdown, latex or csv.")
@click.option("--partial", is_flag=True, help="Show cells that lack images, too, with n.")
def table(kind: str, folders: Sequence[Path], format_: str, partial: bool) -> int:
    """Print a table of one or more runs: leaderboard, or the paper's by number.

    \b
    Example:  arsbench table leaderboard runs/mine --format latex
    """
    from arsbench import reports

    rows, void = _read(folders, partial)
    click.echo(reports.render_table(kind, rows, format_, partial, void))
    return DONE


@click.command()
@click.argument("kind")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_", default="png", show_default=True, help="png, pdf or svg.")
@click.option("--out", type=click.Path(path_type=Path), help="The file.  [default: RUN/figures/KIND.FORMAT]")
@click.option("--partial", is_flag=True, help="Show cells that lack images, too.")
@click.option("--protector", help="figure3, figure4: of the run's protectors only these.")
@click.option("--manipulator", help="figure3, figure4: of the run's manipulators only these.")
def plot(
    kind: str,
    folders: Sequence[Path],
    format_: str,
    out: Path | None,
    partial: bool,
    protector: str | None,
    manipulator: str | None,
) -> int:
    """Draw a figure of one or more runs.

    \b
    figure3  faces, protected and manipulated, without perturbation
    figure4  the same under each perturbation at the strongest level of the run, for a few faces
    figure5  the metrics over the levels

    Figures 3 and 4 load the run's methods again and compute their pictures anew.

    \b
    Example:  arsbench plot figure5 runs/mine --format pdf
    Example:  arsbench plot figure4 runs/mine --manipulator psp-mix --out faces.png
    """
    from arsbench import registry, reports
    from arsbench.reports import gallery

    if kind in gallery.KINDS:
        for path in gallery.draw(kind, folders, out, format_, protector, manipulator, note=say):
            click.echo(f"figure: {path}")
        return DONE
    if kind not in reports.PLOTS:
        raise registry.unknown("plot", kind, (*gallery.KINDS, *reports.PLOTS))
    if protector or manipulator:
        raise click.UsageError(f"{kind} shows all of a run; --protector and --manipulator are for figure3 and figure4")
    rows, void = _read(folders, partial)
    path = out or folders[0] / "figures" / f"{kind}.{format_}"
    path.parent.mkdir(parents=True, exist_ok=True)
    reports.render_plot(kind, rows, path, partial, void)
    click.echo(f"figure: {path}")
    return DONE


def _read(folders: Sequence[Path], partial: bool) -> tuple[pd.DataFrame, str | None]:
    """The rows of runs together, each once, and why they are void."""
    from arsbench.running.results import read_runs

    rows, void, notes = read_runs(folders, partial)
    for note in notes:
        say(note)
    return rows, void
