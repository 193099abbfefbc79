"""``arsbench new``, ``arsbench check`` and ``arsbench submit``: from an empty file to an entry of the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arsbench.cli.authorship import authorship
from arsbench.cli.output import BAD_INPUT, DONE, FINDING, PATH, Group, say

if TYPE_CHECKING:
    from arsbench.leaderboard.check import Report


@click.group(cls=Group)
def new() -> None:
    """Start a method of your own.

    \b
    Example:  arsbench new protector mine
    """


@new.command("protector")
@click.argument("name")
def new_protector(name: str) -> int:
    """Write NAME.py, a protector that runs as it is, into this folder.

    \b
    Example:  arsbench new protector mine
    """
    from arsbench.leaderboard.new import new_protector as write

    path, class_name = write(name, Path())
    click.echo(f"{path}; next: arsbench check {path}:{class_name}")
    return DONE


@click.command()
@click.argument("method")
@click.option("--track", default="open", show_default=True, help="open or paper.")
@click.option("--no-grid", is_flag=True, help="Leave out the two faces through every cell.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def check(method: str, track: str, no_grid: bool, as_json: bool) -> int:
    """Check a protector: FILE.py:Class, folder:DIR or a name. Exit code 1 if a finding keeps it off the board.

    \b
    Example:  arsbench check mine.py:Mine
    """
    from arsbench.leaderboard.check import check as check_method
    from arsbench.running.progress import make_progress

    report = check_method(method, track, not no_grid, make_progress(not as_json))
    if as_json:
        document = {
            "method": report.name,
            "passed": report.passed,
            "seconds_per_face": report.seconds_per_face,
            "rows": report.rows,
            "findings": [flag.model_dump() for flag in report.flags],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        _show(report)
    return DONE if report.passed else FINDING


def _show(report: Report) -> None:
    from arsbench.leaderboard.flags import FINDINGS

    for flag in report.flags:
        finding = FINDINGS[flag.name]
        click.echo(f"{flag.level}: {flag.name}: {finding.what} {flag.what}")
        click.echo(f"  raised if: {finding.raised_if}")
        click.echo(f"  do: {finding.todo}")
    errors = sum(flag.level == "error" for flag in report.flags)
    seconds = "" if report.seconds_per_face is None else f"; {report.seconds_per_face:.3f} s per face"
    rows = f"; {report.rows} rows of the grid" if report.rows else ""
    click.echo(f"{report.name}: {errors} errors, {len(report.flags) - errors} warnings{seconds}{rows}")


@click.command()
@click.argument("method")
@authorship
@click.option(
    "--trained-on", multiple=True, metavar="PERTURBATION", help="The board's perturbations it was trained on."
)
@click.option("--images", type=click.IntRange(min=1), default=100, show_default=True, help="Of the test split.")
@click.option(
    "--rows",
    "runs",
    metavar="RUN",
    multiple=True,
    type=PATH,
    help="A run that has rows of the grid already.",
)
@click.option("--open-pr", is_flag=True, help="Run the git commands of the pull request, too.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def submit(method: str, open_pr: bool, as_json: bool, **given: Any) -> int:
    """Make an entry of the leaderboard: check, run the whole grid, write one folder, print the git commands.

    Started again, it goes on where it stopped.

    \b
    Example:  arsbench submit mine.py:Mine --name mine --author "A. Author" --out results/leaderboard/mine
    Example:  arsbench submit folder:pictures --name theirs --author "B. Author" --out theirs --images 1000
    Example:  arsbench submit pgd --name pgd --author "C. Author" --out entries/pgd --rows results/paper/runs/robustness
    """
    from arsbench.allocator import keep_freed_memory
    from arsbench.leaderboard import submit as making
    from arsbench.leaderboard.check import check as check_method
    from arsbench.leaderboard.verify import verify
    from arsbench.running.progress import make_progress

    keep_freed_memory()
    wanted = making.Submission(method=method, **given)
    making.refuse_early(wanted)
    report = check_method(method, wanted.track)
    if not report.passed:
        _show(report)
        say("findings keep it off the board; nothing was run")
        return FINDING
    try:
        entry = making.submit(wanted, report.flags, make_progress(not as_json))
    except making.VoidRun as error:
        say(str(error))
        return FINDING
    verification = verify(wanted.out, 0)
    if not verification.passed:
        failed = next(one for one in verification.checks if not one.passed)
        say(f"the entry does not verify here: {failed.name}: expected {failed.expected}, got {failed.got}")
        return BAD_INPUT
    commands = making.pull_request(entry, wanted.out)
    if as_json:
        click.echo(json.dumps({"entry": str(wanted.out), "commands": commands, **_summary(entry)}, indent=1))
    else:
        _told(entry, wanted.out, commands)
    if open_pr:
        making.open_pull_request(commands)
    return DONE


def _summary(entry: Any) -> dict[str, Any]:
    everything = entry.aggregates["all"]
    return {name: everything.get(name) for name in ("sr_strict", "sr_strict_worst", "sr")}


def _told(entry: Any, out: Path, commands: Sequence[Sequence[str]]) -> None:
    import shlex

    for name, values in _summary(entry).items():
        if values is not None:
            mean, low, high = (float("nan") if value is None else value for value in values)
            click.echo(f"{name} {mean:.3f} ({low:.3f} to {high:.3f})")
    for flag in entry.flags:
        click.echo(f"{flag.level}: {flag.name}: {flag.what}")
    click.echo(f"entry: {out}; to propose it, in a checkout of arsbench:")
    for command in commands:
        click.echo(f"  {shlex.join(command)}")
