"""``arsbench checkpoints``: the official checkpoints that the user brings."""

from __future__ import annotations

import json
from pathlib import Path

import click

from arsbench.cli.output import DONE, FINDING, PATH, Group, say


@click.group(cls=Group)
def checkpoints() -> None:
    """The official checkpoints of the paper track, which you bring.

    \b
    Example:  arsbench checkpoints add psp psp_ffhq_encode.pt
    """


@checkpoints.command("add")
@click.argument("kind", type=click.Choice(("psp", "e4e", "simswap", "arcface", "styleclip")))
@click.argument("file", type=PATH)
@click.option("--edit", metavar="NAME", help="What a StyleCLIP edit is called.  [default: the file's name]")
def add_checkpoint(kind: str, file: Path, edit: str | None) -> int:
    """Read a checkpoint as it was published, check it key by key and keep it as safetensors; runs nothing of it.

    \b
    Example:  arsbench checkpoints add styleclip angry.pt --edit angry
    """
    from arsbench.manipulators.official import checkpoints as official

    added, notes = official.add(kind, file, edit)
    for note in notes:
        say(note)
    click.echo(f"added: {added.name}  {added.path}")
    return DONE


@checkpoints.command("list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_checkpoints(as_json: bool) -> int:
    """List the checkpoints that were added.

    \b
    Example:  arsbench checkpoints list
    """
    from arsbench.manipulators.official import kept as official

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
    from arsbench.manipulators.official import kept as official

    damaged = 0
    for c in official.kept():
        wrong = official.verify(c)
        damaged += wrong is not None
        click.echo(f"{'ok' if wrong is None else '!!'}  {c.name}{'' if wrong is None else f': {wrong}'}")
    return FINDING if damaged else DONE
