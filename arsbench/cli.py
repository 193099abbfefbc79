"""The command line: thin commands over the Python interface.

Exit codes: 0 done, 1 a finding (a void run, a damaged file), 2 bad usage or input.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from arsbench.contracts import Manipulator
    from arsbench.datasets import Dataset

DONE, FINDING, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
KINDS = ("protectors", "perturbations", "manipulators", "tracks")


class Group(click.Group):
    """A command group that names the nearest command for an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that the first argument names."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(f"unknown command '{args[0]}'{hint}", ctx) from None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="arsbench")
def commands() -> None:
    """The robustness benchmark for adversarial face protection.

    \b
    Example:  arsbench run --protector ars --level all
    """


# --- run ------------------------------------------------------------------------------------------------------------


@commands.command()
@click.option("--protector", default="ars", show_default=True, help="Names, a comma list, all, or FILE.py:Class.")
@click.option("--manipulator", default="all", show_default=True, help="Names, a comma list, all, or FILE.py:Class.")
@click.option("--perturbation", default="all", show_default=True, help="As above, a named set, or none.")
@click.option("--level", default="all", show_default=True, help="all, 0,3,5 or 1-5; level 0 is always evaluated.")
@click.option("--images", type=int, help="How many.  [default: 100, or all pictures of --faces]")
@click.option("--track", default="open", show_default=True, help="open or paper.")
@click.option("--epsilon", type=float, default=0.3, show_default=True, help="L_inf budget in [-1, 1] units.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the protectors' draws.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--batch", type=int, help="Images at a time; the rows do not depend on it.  [default: what fits]")
@click.option("--precision", default="float32", show_default=True, help="float32 or bfloat16, of the manipulators.")
@click.option("--faces", type=click.Path(path_type=Path), metavar="DIR", help="A folder of your own pictures.")
@click.option("--skip-bad", is_flag=True, help="Leave out pictures of --faces that cannot be read.")
@click.option("--identity", is_flag=True, help="Fill the identity columns, too; takes about twice as long.")
@click.option("--weights", default="own", show_default=True, help="own, or random: speed of the paper track's models.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The run's folder.  [default: runs/<key>]")
@click.option("--no-cache", is_flag=True, help="Compute every reference anew.")
def run(no_cache: bool, **options: Any) -> int:
    """Run protectors, and the controls, against manipulators under perturbations.

    Started again with the same options, a run that was interrupted goes on where it stopped.

    \b
    Example:  arsbench run --protector ars,pgd --manipulator psp-mix --level 0,5 --images 20
    Example:  arsbench run --protector mine.py:Mine --out runs/mine
    """
    from arsbench.api import Settings, execute, make_progress, void_sentence
    from arsbench.engines.allocator import keep_freed_memory

    keep_freed_memory()
    outcome = execute(Settings(**options, cache=not no_cache), make_progress(True), keep=True)
    if options["weights"] == "random":
        click.echo("random weights: the rows serve to measure speed; no table or figure takes them")
    elif not outcome.rows.empty:
        _show_leaderboard(outcome.rows, bool(outcome.failures), void_sentence(outcome.void))
    for path in outcome.reports:
        if path.suffix == ".png":
            click.echo(f"figure: {path}")
    click.echo(f"run: {outcome.folder}")
    for name, reason in outcome.void.items():
        _say(f"the run is void for manipulator '{name}': {reason}")
    if outcome.failures:
        return BAD_INPUT
    return FINDING if outcome.void else DONE


def _show_leaderboard(rows: pd.DataFrame, partial: bool, void: str | None) -> None:
    from rich.console import Console

    from arsbench.reports.terminal import leaderboard

    Console(highlight=False).print(leaderboard(rows, partial, void))


@commands.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(folder: Path, as_json: bool) -> int:
    """Count the cells of a run: done, missing, failed.

    \b
    Example:  arsbench status runs/mine
    """
    import dataclasses

    from arsbench.store import status as status_of

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


# --- reports --------------------------------------------------------------------------------------------------------


@commands.command()
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


@commands.command()
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
    from arsbench import gallery, registry, reports

    if kind in gallery.KINDS:
        for path in gallery.draw(kind, folders, out, format_, protector, manipulator, note=_say):
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
    from arsbench.combine import read_runs

    rows, void, notes = read_runs(folders, partial)
    for note in notes:
        _say(note)
    return rows, void


# --- what there is --------------------------------------------------------------------------------------------------


@commands.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_(kind: str, as_json: bool) -> int:
    """List the protectors, perturbations, manipulators or tracks there are.

    \b
    Example:  arsbench list protectors
    """
    entries = _entries(kind)
    if as_json:
        click.echo(json.dumps(entries, indent=1))
        return DONE
    columns = [
        [entry["name"], *(_details(entry) if kind == "manipulators" else []), entry["summary"]] for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    for line in columns:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    return DONE


def _details(entry: dict[str, Any]) -> list[str]:
    """Of a manipulator: track, size, weights, licence, and whether it is ready."""
    if not entry["usable"]:
        return ["-", "-", "-", "-", "not ready"]
    hashes = " ".join(weights["sha256"][:8] for weights in entry["weights"])
    licences = ", ".join(dict.fromkeys(weights["licence"].split(";")[0] for weights in entry["weights"]))
    size = f"{entry['size']} x {entry['size']}"
    lacks = f"needs {', '.join(entry['missing'])}" if entry["missing"] else "not ready"
    return [entry["track"], size, hashes or "-", licences or "-", "ready" if entry["ready"] else lacks]


def _entries(kind: str) -> list[dict[str, Any]]:
    from arsbench import registry
    from arsbench.contracts import ArsbenchError
    from arsbench.protocol import TRACKS, groups

    if kind == "tracks":
        return [{"name": name, "summary": f"{size} x {size} pixels", "size": size} for name, size in TRACKS.items()]
    singular = kind.removesuffix("s")
    entries = []
    for name in dict.fromkeys([*groups(singular)["all"], *registry.names(singular)]):
        try:
            method = registry.find(singular, name)
        except ArsbenchError as error:
            entries.append({"name": name, "summary": str(error), "usable": False})
            continue
        if kind == "manipulators":
            entries += [_manipulator(cls, method.origin) for t in TRACKS if (cls := method.cls.on(t)) is not None]
            continue
        entry = {"name": name, "summary": registry.summary(method.cls), "origin": method.origin, "usable": True}
        if kind == "perturbations":
            entry["levels"] = method.cls.levels
        entries.append(entry)
    return entries


def _manipulator(cls: type[Manipulator], origin: str) -> dict[str, Any]:
    from fnmatch import fnmatch

    from arsbench import registry
    from arsbench.cards import read_card
    from arsbench.protocol import TRACKS
    from manipulators.checkpoints import kept

    cards = [read_card(path.with_suffix(".json")) for path in cls.weights_files]
    weights = [{"file": c.name, "sha256": c.sha256, "licence": c.licence, "found": c.found} for c in cards]
    own = kept() if cls.checkpoints else []
    missing = [wanted for wanted in cls.checkpoints if not any(fnmatch(c.name, wanted) for c in own)]
    weights += [
        {"file": c.name, "sha256": c.card.get("sha256", ""), "licence": "the user's", "found": str(c.path)}
        for c in own
        if any(fnmatch(c.name, wanted) for wanted in cls.checkpoints)
    ]
    return {
        "name": cls.name,
        "summary": registry.summary(cls),
        "origin": origin,
        "usable": True,
        "track": cls.track,
        "size": TRACKS.get(cls.track),
        "weights": weights,
        "missing": missing,
        "ready": all(card.well for card in cards) and not missing,
    }


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def doctor(as_json: bool) -> int:
    """Say what works on this machine and what is missing. Exit code 1 if something is.

    \b
    Example:  arsbench doctor
    """
    from arsbench.doctor import checks

    found = list(checks())
    if as_json:
        click.echo(json.dumps([vars(check) for check in found], indent=1))
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            click.echo(f"{'ok' if check.well else '!!'}  {check.name:<{width}}  {check.found}")
    return DONE if all(check.well for check in found) else FINDING


# --- train ----------------------------------------------------------------------------------------------------------


@commands.command()
@click.argument("name")
@click.option("--manipulator", default="psp-mix", show_default=True, help="That a protector is trained against.")
@click.option("--track", default="open", show_default=True, help="open or paper.")
@click.option("--steps", type=click.IntRange(min=1), default=5000, show_default=True, help="Optimiser steps in all.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Faces per step.")
@click.option("--out", type=click.Path(path_type=Path), help="Checkpoints and result.  [default: training/<name>]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial weights and the draws.")
@click.option("--epsilon", type=float, default=0.3, show_default=True, help="L_inf budget of a protector.")
@click.option("--start", type=click.Path(path_type=Path), metavar="FILE", help="Finished weights to start from.")
@click.option("--accumulate", type=click.IntRange(min=1), default=1, show_default=True, help="Parts of a step's batch.")
@click.option("--checkpointing", is_flag=True, help="Keep less of the manipulator in memory; a step takes longer.")
def train(name: str, manipulator: str, track: str, out: Path | None, **options: Any) -> int:
    """Train a protector against a manipulator, or a manipulator: psp, simswap, styleclip.

    Started again, it goes on where it stopped.

    \b
    Example:  arsbench train ars --manipulator psp-mix --track open --steps 5000
    Example:  arsbench train ars --manipulator psp-mix --track paper --batch 8 --accumulate 4 --checkpointing
    Example:  arsbench train psp --steps 10000 --batch 32
    """
    from arsbench.api import make_progress
    from arsbench.store import check_folder
    from arsbench.training import train as train_method
    from arsbench.training import trainable

    kind, cls = trainable(name)
    stem = f"{cls.name}-{manipulator}-{track}" if kind == "protector" else f"{name}-{track}"
    folder = out or Path("training") / stem
    check_folder(folder)
    result = train_method(name, manipulator, track, out=folder, progress=make_progress(True), **options)
    click.echo(f"trained: {result}")
    return DONE


# --- what the user brings -------------------------------------------------------------------------------------------


@commands.group(cls=Group)
def checkpoints() -> None:
    """The official checkpoints of the paper track, which you bring.

    \b
    Example:  arsbench checkpoints add psp psp_ffhq_encode.pt
    """


@checkpoints.command("add")
@click.argument("kind", type=click.Choice(("psp", "e4e", "simswap", "arcface", "styleclip")))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--edit", metavar="NAME", help="What a StyleCLIP edit is called.  [default: the file's name]")
def add_checkpoint(kind: str, file: Path, edit: str | None) -> int:
    """Read a checkpoint as it was published, check it key by key and keep it as safetensors; runs nothing of it.

    \b
    Example:  arsbench checkpoints add styleclip angry.pt --edit angry
    """
    from manipulators import checkpoints as official

    added, notes = official.add(kind, file, edit)
    for note in notes:
        _say(note)
    click.echo(f"added: {added.name}  {added.path}")
    return DONE


@checkpoints.command("list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_checkpoints(as_json: bool) -> int:
    """List the checkpoints that were added.

    \b
    Example:  arsbench checkpoints list
    """
    from manipulators import checkpoints as official

    found = official.kept()
    if as_json:
        click.echo(json.dumps([{"name": c.name, "path": str(c.path), **c.card} for c in found], indent=1))
        return DONE
    if not found:
        click.echo(f"none in {official.checkpoints_folder()}; add yours with: arsbench checkpoints add KIND FILE")
    for c in found:
        size = f"{c.path.stat().st_size / 1e6:.0f} MB" if c.path.is_file() else "missing"
        said = (c.card.get("precision", ""), c.card.get("sha256", "")[:8], f"from {c.card.get('source', '?')}")
        click.echo("  ".join((f"{c.name:<20}", f"{size:>8}", *said)))
    return DONE


@checkpoints.command("verify")
def verify_checkpoints() -> int:
    """Hash every kept checkpoint again. Exit code 1 if one is not what was added.

    \b
    Example:  arsbench checkpoints verify
    """
    from manipulators import checkpoints as official

    damaged = 0
    for c in official.kept():
        wrong = official.verify(c)
        damaged += wrong is not None
        click.echo(f"{'ok' if wrong is None else '!!'}  {c.name}{'' if wrong is None else f': {wrong}'}")
    return FINDING if damaged else DONE


@commands.group(cls=Group)
def data() -> None:
    """Your copies of the paper track's faces.

    \b
    Example:  arsbench data add ffhq ~/ffhq/images256
    """


@data.command("add")
@click.argument("name", type=click.Choice(("ffhq", "vggface2")))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def add_data(name: str, folder: Path) -> int:
    """Divide your copy into train, validation and test, hash its files and keep the manifest; copies no picture.

    \b
    Example:  arsbench data add vggface2 ~/vggface2/test
    """
    from arsbench import datasets
    from arsbench.api import make_progress

    progress = make_progress(True)
    with progress:
        shown = [0]

        def advance(done: int, total: int) -> None:
            if done == 1:
                progress.start(total, unit="files")
            progress.advance(done - shown[0])
            shown[0] = done

        added = datasets.add(name, folder, advance)
    click.echo(_described(added))
    return DONE


@data.command("list")
def list_data() -> int:
    """List the copies that were added: files of each split, and the hash over all.

    \b
    Example:  arsbench data list
    """
    from arsbench import datasets

    found = datasets.added()
    if not found:
        click.echo("none; add yours with: arsbench data add ffhq DIR")
    for copy in found:
        click.echo(_described(copy))
    return DONE


def _described(copy: Dataset) -> str:
    counts = ", ".join(f"{len(files)} {split}" for split, files in copy.files.items())
    return f"{copy.name}: {counts}  {copy.folder}  SHA-256 {copy.sha256[:16]}"


# --- the one place where errors end ---------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the ``arsbench`` command; exits."""
    sys.exit(execute_command(arguments))


def execute_command(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; what goes wrong becomes one sentence on stderr."""
    try:
        result = commands.main(args=arguments, prog_name="arsbench", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return BAD_INPUT
    except click.ClickException as error:
        _say(error.format_message())
        return BAD_INPUT
    except (KeyboardInterrupt, click.Abort) as error:
        folder = getattr(error, "folder", None) or getattr(error.__cause__, "folder", None)
        _say(
            f"interrupted; what was computed is in {folder}, the same command goes on from there"
            if folder
            else "interrupted"
        )
        return INTERRUPTED
    except Exception as error:
        return _ended(error)
    return result if isinstance(result, int) else DONE


def _ended(error: Exception) -> int:
    from arsbench.contracts import ArsbenchError

    if os.environ.get("ARSBENCH_DEBUG") == "1":
        raise error
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe has left; Python must not try to flush into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif isinstance(error, ArsbenchError):
        _say(str(error))
    elif isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        full = " (what was stored before is kept; the same command goes on)" if error.errno == errno.ENOSPC else ""
        _say(f"cannot read or write{where}: {error.strerror or error}{full}")
    else:
        _say(f"an error in arsbench itself: {type(error).__name__}: {error}; ARSBENCH_DEBUG=1 shows where")
    return BAD_INPUT


def _say(sentence: str) -> None:
    click.echo(f"arsbench: {sentence}", err=True)


if __name__ == "__main__":
    main()
