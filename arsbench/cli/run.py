"""``arsbench run``, ``work``, ``status`` and ``speed``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from arsbench.cli.output import BAD_INPUT, DONE, FINDING, PATH, console, say
from arsbench.running.settings import DEFAULTS, IMAGES

if TYPE_CHECKING:
    import pandas as pd

    from arsbench.running.execute import Outcome
    from arsbench.running.settings import Settings

Command = TypeVar("Command", bound=Callable[..., object])


def setting(name: str, help: str, **more: Any) -> Callable[[Command], Command]:
    """An option whose default is that of :class:`arsbench.running.settings.Settings`."""
    return click.option(
        f"--{name}", default=getattr(DEFAULTS, name.replace("-", "_")), show_default=True, help=help, **more
    )


@click.command()
@setting("protector", "Names, a comma list, all, FILE.py:Class or folder:DIR.")
@setting("manipulator", "Names, a comma list, all, or FILE.py:Class.")
@setting("perturbation", "As above, a named set, or none.")
@setting("level", "all, 0,3,5 or 1-5; level 0 is always evaluated.")
@click.option("--images", type=int, help=f"How many.  [default: {IMAGES}, or all pictures of --faces]")
@setting("track", "open or paper.")
@setting("epsilon", "L_inf budget in [-1, 1] units, or several: 0.1,0.3,0.5.", type=str)
@click.option("--trained-on", metavar="NAMES", help="Manipulators to protect against, to evaluate on others.")
@setting("seed", "Of the protectors' draws.", type=int)
@setting("device", "auto, cpu or cuda.")
@click.option("--batch", type=int, help="Images at a time; the rows do not depend on it.  [default: what fits]")
@setting("precision", "float32 or bfloat16, of the manipulators.")
@click.option("--faces", type=PATH, metavar="DIR", help="A folder of your own pictures.")
@click.option("--skip-bad", is_flag=True, help="Leave out pictures of --faces that cannot be read.")
@click.option("--identity", is_flag=True, help="Fill the identity columns, too; takes about twice as long.")
@setting("weights", "own, or random: speed of the paper track's models.")
@setting("engine", "local: processes of this machine, or ray.")
@setting("workers", "Processes, or actors of Ray.", type=int)
@click.option("--address", metavar="ADDRESS", help="Of a Ray cluster.")
@setting("hung-after", "Seconds without a row after which a worker is ended and replaced.", type=float)
@click.option(
    "--out",
    type=PATH,
    metavar="DIR",
    help="The run's folder; one that holds a part of the run is added to.  [default: runs/<key>]",
)
@click.option("--no-cache", is_flag=True, help="Compute every reference anew.")
@click.option("--like", metavar="MANIFEST", help="The settings of another run, but for those given here.")
@click.option("--plan-only", is_flag=True, help="Only lay the run out, for: arsbench work RUN")
@click.option("--dry-run", is_flag=True, help="Only say what it would take: cells, rows, minutes, disk.")
@click.option("--json", "as_json", is_flag=True, help="Of --dry-run, for scripts.")
@click.pass_context
def run(
    context: click.Context,
    /,
    no_cache: bool,
    like: str | None,
    plan_only: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run protectors, and the controls, against manipulators under perturbations.

    Started again with the same options, a run that was interrupted goes on where it stopped.

    \b
    Example:  arsbench run --protector ars,pgd --manipulator psp-mix --level 0,5 --images 20
    Example:  arsbench run --protector mine.py:Mine --out runs/mine
    Example:  arsbench run --protector pgd --trained-on psp-mix --manipulator styleclip
    Example:  arsbench run --like runs/mine/manifest.json --out runs/again --dry-run
    Example:  arsbench run --protector pgd --workers 4
    """
    from dataclasses import replace

    from arsbench.reports.run import run_with_reports
    from arsbench.running.execute import lay_out
    from arsbench.running.progress import make_progress
    from arsbench.running.settings import Settings

    settings = Settings(**options, cache=not no_cache)
    if like is not None:
        from arsbench.running.again import settings_like

        given = {name: value for name, value in options.items() if _given(context, name)}
        settings = replace(settings_like(like), cache=not no_cache, **given)
    if dry_run:
        return _dry_run(settings, as_json)
    if as_json:
        raise click.UsageError("--json is for --dry-run; arsbench status RUN --json tells of a run")
    if plan_only:
        folder, plan = lay_out(settings)
        click.echo(f"{len(plan.cells)} cells of {len(plan.images)} images are laid out; nothing is computed yet")
        click.echo(f"run: {folder}")
        return DONE
    outcome = run_with_reports(settings, make_progress(True), keep=True)
    if like is not None:
        _compare_with(like, outcome.folder)
    return _show(outcome)


def _show(outcome: Outcome) -> int:
    """Prints what came of a run; returns the exit code."""
    from arsbench.running.execute import void_sentence

    if not outcome.rows.empty and (outcome.rows["weights"] == "random").any():
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


@click.command()
@click.argument("folder", metavar="RUN", type=PATH)
@click.option("--shard", metavar="I/N", help="Every N-th task, from the I-th on.  [default: all]")
@click.option("--no-cache", is_flag=True, help="Compute every reference anew.")
@setting("hung-after", "Seconds without a row after which others take over what this worker is at.", type=float)
@click.option("--crew", hidden=True, help="This worker's name in a run --workers, which is at the other end of stdin.")
def work(folder: Path, shard: str | None, no_cache: bool, hung_after: float, crew: str | None) -> int:
    """One more worker on a run that was laid out: from any shell, Slurm job or pod that sees RUN.

    The worker that finds all done writes the reports. See docs/cluster.md.

    \b
    Example:  arsbench run --protector all --plan-only --out runs/all && arsbench work runs/all
    Example:  arsbench work runs/all --shard 3/8
    """
    from arsbench.cli.surroundings import end_with_parent
    from arsbench.reports.run import work_with_reports
    from arsbench.running.progress import make_progress

    if crew is not None:
        end_with_parent()
    outcome = work_with_reports(folder, shard, not no_cache, hung_after, make_progress(crew is None), crew)
    if outcome is None:
        if crew is None:
            click.echo(f"nothing is left to do here; arsbench status {folder} tells of the run")
        return DONE
    return _show(outcome)


def _given(context: click.Context, name: str) -> bool:
    """Whether the caller gave an option, on the command line or in the environment."""
    default = (click.core.ParameterSource.DEFAULT, click.core.ParameterSource.DEFAULT_MAP)
    return context.get_parameter_source(name) not in default


def _dry_run(settings: Settings, as_json: bool) -> int:
    import dataclasses

    from arsbench.running.estimate import estimate
    from arsbench.running.progress import make_progress

    found = estimate(settings, make_progress(not as_json))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1))
        return DONE
    done = f", {found.rows_done} of them done" if found.rows_done else ""
    click.echo(f"{found.cells} cells of {found.images} images: {found.rows} rows{done}")
    click.echo(f"about {found.minutes:.1f} minutes on this machine, by a probe of {found.probe_seconds:.0f} seconds")
    click.echo(f"about {found.disk_mib:g} MiB in {found.folder}, at most {found.cache_mib:g} MiB of cached references")
    return DONE


def _compare_with(like: str, folder: Path | None) -> None:
    from arsbench.running.again import changed, run_of
    from arsbench.running.manifest import read_manifest

    if folder is not None and (told := changed(read_manifest(run_of(like)), read_manifest(folder))):
        say(f"{like}: {told}")


def _show_leaderboard(rows: pd.DataFrame, partial: bool, void: str | None) -> None:
    from arsbench.reports.terminal import leaderboard

    console().print(leaderboard(rows, partial, void))


@click.command()
@click.argument("folder", metavar="RUN", type=PATH)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto: all there are.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def speed(folder: Path, device: str, as_json: bool) -> int:
    """Time the protectors of a run: warm, five repetitions, one face at a time; passes and memory are counted.

    What is found is kept in RUN and shown by: arsbench table 4 RUN

    \b
    Example:  arsbench speed runs/mine
    """
    import dataclasses

    from arsbench import reports
    from arsbench.reports.speed import speed_tables
    from arsbench.running.progress import make_progress
    from arsbench.running.speed import measure

    found = measure(folder, () if device == "auto" else (device,), make_progress(True))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in found], indent=1))
    else:
        click.echo(reports.render_tables(speed_tables(found), "markdown"))
    return DONE


@click.command()
@click.argument("folder", metavar="RUN", type=PATH)
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
