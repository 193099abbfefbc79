"""``arsbench bench``: what the harness costs on this machine."""

from __future__ import annotations

import json

import click

from arsbench.cli.output import DONE, say


@click.command()
@click.option("--images", type=click.IntRange(min=1), default=10, show_default=True, help="Faces of the timed run.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def bench(images: int, as_json: bool) -> int:
    """Measure on this machine where a run's seconds go, and what the harness costs and saves. Takes minutes.

    \b
    Example:  arsbench bench --images 50
    """
    import dataclasses

    from arsbench.running.ratios import measure

    found = measure(images, lambda sentence: None if as_json else say(sentence))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1))
        return DONE
    whole = sum(found.stages.values())
    for stage, seconds in found.stages.items():
        click.echo(f"{stage:<44} {seconds:8.2f} s {seconds / whole:5.0%}")
    for name, number in found.ratios.items():
        click.echo(f"{name:<44} {number:8.2f}")
    return DONE
