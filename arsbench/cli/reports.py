"""``arsbench table`` and ``arsbench plot``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arsbench.cli.output import DONE, PATH, say

if TYPE_CHECKING:
    import pandas as pd

    from arsbench.running.speed import Speed


@click.command()
@click.argument("kind")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=PATH)
@click.option("--format", "format_", default="markdown", show_default=True, help="markdown, latex or csv.")
@click.option("--partial", is_flag=True, help="Show cells that lack images, too, with n.")
@click.option("--epsilon", help="Of several budgets only these: 0.3, or a comma list.")
@click.option("--intervals/--no-intervals", default=None, help="Half the 95 % interval.  [default: in Markdown]")
def table(
    kind: str, folders: Sequence[Path], format_: str, partial: bool, epsilon: str | None, intervals: bool | None
) -> int:
    """Print a table of one or more runs: leaderboard, or the paper's by number.

    \b
    1  without perturbation            4  seconds a picture, and passes where arsbench speed measured them
    2  success by budget               5  parts of ARS
    3  transfer between manipulators   6  each perturbation at the strongest level, and the worst case

    \b
    Example:  arsbench table leaderboard runs/mine --format latex
    """
    from arsbench import reports

    if kind == "4" and (speeds := _speeds(folders)):
        from arsbench.reports.speed import speed_tables

        reports.check_format(format_)
        click.echo(reports.render_tables(speed_tables(speeds), format_, None, intervals))
        return DONE
    rows, void = _read(folders, partial, epsilon)
    click.echo(reports.render_table(kind, rows, format_, partial, void, intervals))
    return DONE


@click.command()
@click.argument("kind")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=PATH)
@click.option("--format", "format_", default="png", show_default=True, help="png, pdf or svg.")
@click.option("--out", type=PATH, help="The file.  [default: RUN/figures/KIND.FORMAT]")
@click.option("--partial", is_flag=True, help="Show cells that lack images, too.")
@click.option("--protector", help="figure3, figure4: of the run's protectors only these.")
@click.option("--manipulator", help="figure3, figure4: of the run's manipulators only these.")
@click.option("--epsilon", help="Of several budgets only these: 0.3, or a comma list; figure3 and figure4 take one.")
def plot(
    kind: str,
    folders: Sequence[Path],
    format_: str,
    out: Path | None,
    partial: bool,
    protector: str | None,
    manipulator: str | None,
    epsilon: str | None,
) -> int:
    """Draw a figure of one or more runs.

    \b
    figure3  faces, protected and manipulated, without perturbation
    figure4  the same under each perturbation at the strongest level of the run, for a few faces
    figure5  the metrics over the levels
    pareto   protection over visibility, a point per protector and budget
    transfer what a protector made against one manipulator does to the others, of a run with --trained-on

    Figures 3 and 4 load the run's methods again and compute their pictures anew.

    \b
    Example:  arsbench plot figure5 runs/mine --format pdf
    Example:  arsbench plot figure4 runs/mine --manipulator psp-mix --out faces.png
    """
    from arsbench import registry, reports
    from arsbench.reports import gallery

    if kind in gallery.KINDS:
        budgets = _budgets(epsilon)
        if len(budgets) > 1:
            raise click.UsageError(f"{kind} shows one budget; give one to --epsilon")
        budget = budgets[0] if budgets else None
        for path in gallery.draw(kind, folders, out, format_, protector, manipulator, budget, say):
            click.echo(f"figure: {path}")
        return DONE
    if kind not in reports.PLOTS:
        raise registry.unknown("plot", kind, (*gallery.KINDS, *reports.PLOTS))
    if protector or manipulator:
        raise click.UsageError(f"{kind} shows all of a run; --protector and --manipulator are for figure3 and figure4")
    rows, void = _read(folders, partial, epsilon)
    path = out or folders[0] / "figures" / f"{kind}.{format_}"
    path.parent.mkdir(parents=True, exist_ok=True)
    reports.render_plot(kind, rows, path, partial, void)
    click.echo(f"figure: {path}")
    return DONE


def _speeds(folders: Sequence[Path]) -> list[Speed]:
    """What ``arsbench speed`` measured; empty unless every run has it."""
    from arsbench.running import speed

    found = [speed.read(folder) for folder in folders]
    return [entry for entries in found for entry in entries] if all(found) else []


def _read(folders: Sequence[Path], partial: bool, epsilon: str | None = None) -> tuple[pd.DataFrame, str | None]:
    """The rows of runs together, each once, at the budgets that are wanted, and why they are void."""
    from arsbench.reports.selection import choose_budgets
    from arsbench.running.results import read_runs

    rows, void, notes = read_runs(folders, partial)
    for note in notes:
        say(note)
    return choose_budgets(rows, _budgets(epsilon)), void


def _budgets(given: str | None) -> tuple[float, ...]:
    """The budgets in a comma list; none where none is given."""
    from arsbench.running.checks import parse_epsilons

    return parse_epsilons(given) if given else ()
