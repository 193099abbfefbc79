"""``arsbench run`` and ``arsbench status``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from arsbench.cli.output import BAD_INPUT, DONE, FINDING, say
from arsbench.running.settings import DEFAULTS, IMAGES

if TYPE_CHECKING:
    import pandas as pd

Command = TypeVar("Command", bound=Callable[..., object])


def setting(name: str, help: str, **more: Any) -> Callable[[Command], Command]:
    """An option whose default is that of :class:`arsbench.running.settings.Settings`."""
    return click.option(f"--{name}", default=getattr(DEFAULTS, name), show_default=True, help=help, **more)


@click.command()
@setting("protector", "Names, a comma list, all, or FILE.py:Class.")
@setting("manipulator", "Names, a comma list, all, or FILE.py:Class.")
@setting("perturbation", "As above, a named set, or none.")
@setting("level", "all, 0,3,5 or 1-5; level 0 is always evaluated.")
@click.option("--images", type=int, help=f"How many.  [default: {IMAGES}, or all pictures of --faces]")
@setting("track", "open or paper.")
@setting("epsilon", "L_inf budget in [-1, 1] units.", type=float)
@setting("seed", "Of the protectors' draws.", type=int)
@setting("device", "auto, cpu or cuda.")
@click.option("--batch", type=int, help="Images at a time; the rows do not depend on it.  [default: what fits]")
@setting("precision", "float32 or bfloat16, of the manipulators.")
@click.option("--faces", type=click.Path(path_type=Path), metavar="DIR", help="A folder of your own pictures.")
@click.option("--skip-bad", is_flag=True, help="Leave out pictures of --faces that cannot be read.")
@click.option("--identity", is_flag=True, help="Fill the identity columns, too; takes about twice as long.")
@setting("weights", "own, or random: speed of the paper track's models.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The run's folder.  [default: runs/<key>]")
@click.option("--no-cache", is_flag=True, help="Compute every reference anew.")
def run(no_cache: bool, **options: Any) -> int:
    """Run protectors, and the controls, against manipulators under perturbations.

    Started again with the same options, a run that was interrupted goes on where it stopped.

    \b
    Example:  arsbench run --protector ars,pgd --manipulator psp-mix --level 0,5 --images 20
    Example:  arsbench run --protector mine.py:Mine --out runs/mine
    """
    from arsbench.reports.run import run_with_reports
    from arsbench.running.engines.allocator import keep_freed_memory
    from arsbench.running.execute import void_sentence
    from arsbench.running.progress import make_progress
    from arsbench.running.settings import Settings

    keep_freed_memory()
    outcome = run_with_reports(Settings(**options, cache=not no_cache), make_progress(True), keep=True)
    if options["weights"] == "random":
        click.echo("random weights: the rows serve to measure speed; no table or figure takes them")
    elif not outcome.rows.empty:
        _show_leaderboard(outcome.rows, bool(outcome.failures), void_sentence(outcome.void))
    for path in outcome.reports:
        if path.suffix == ".png":
            click.echo(f"figure: {path}")
    click.echo(f"run: {outcome.folder}")
    for name, reason in outcome.void.items():
        say(f"the run is void for manipulator '{name}': {reason}")
    if outcome.failures:
        return BAD_INPUT
    return FINDING if outcome.void else DONE


def _show_leaderboard(rows: pd.DataFrame, partial: bool, void: str | None) -> None:
    from rich.console import Console

    from arsbench.reports.terminal import leaderboard

    Console(highlight=False).print(leaderboard(rows, partial, void))


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(folder: Path, as_json: bool) -> int:
    """Count the cells of a run: done, missing, failed.

    \b
    Example:  arsbench status runs/mine
    """
    import dataclasses

    from arsbench.running.status import status as status_of

    found = status_of(folder)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1))
        return DONE
    click.echo(f"{found.done} cells done, {found.missing} missing, {found.failed} failed")
    click.echo(f"{found.rows} of {found.rows_planned} rows; {found.state}")
    for sentence in found.failures:
        click.echo(f"failed: {sentence}")
    for name, reason in found.void.items():
        click.echo(f"void: {name}: {reason}")
    return DONE
