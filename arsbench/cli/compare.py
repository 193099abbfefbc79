"""``arsbench compare-paper``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from arsbench.cli.output import DONE, PATH, say


@click.command("compare-paper")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=PATH)
@click.option(
    "--format", "format_", default="markdown", show_default=True, help="markdown, latex or csv (cells alone)."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def compare_paper(folders: Sequence[Path], format_: str, as_json: bool) -> int:
    """Print the paper's numbers beside those of runs, and which of its findings hold there.

    \b
    Example:  arsbench compare-paper results/paper/runs/*
    """
    from arsbench import reports
    from arsbench.reports.compare import cell_tables, compare, findings_table
    from arsbench.running import speed
    from arsbench.running.results import read_runs

    reports.check_format(format_)
    rows, void, notes = read_runs(folders)
    for note in notes:
        say(note)
    if void:
        say(f"a run is void: {void}")
    found = compare(rows, [entry for folder in folders for entry in speed.read(folder)])
    if as_json:
        click.echo(json.dumps(found.document(), indent=1))
        return DONE
    click.echo(reports.render_tables(cell_tables(found), format_, void))
    if format_ != "csv":
        click.echo(reports.render_tables([findings_table(found)], format_, void))
    return DONE
