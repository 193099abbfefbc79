"""``arsbench reproduce``."""

from __future__ import annotations

from pathlib import Path

import click

from arsbench.cli.output import BAD_INPUT, DONE, FINDING, PATH, say


@click.command()
@click.option("--out", type=PATH, default=Path("results/paper"), show_default=True, help="Folder.")
@click.option("--protector", help="Of the runs but the ablations.  [default: all,ars_tuned]")
@click.option("--manipulator", default="all", show_default=True, help="Names or a comma list.")
@click.option("--images", type=int, help="How many faces.  [default: 100]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
def reproduce(out: Path, protector: str | None, manipulator: str, images: int | None, device: str) -> int:
    """Run the paper's whole evaluation: Tables 1 to 6, Figures 3 to 5, and its numbers beside ours.

    Interrupted and started again, it goes on where it stopped.

    \b
    Example:  arsbench reproduce --out results/paper
    """
    from arsbench.reports.reproduce import PROTECTORS
    from arsbench.reports.reproduce import reproduce as reproduce_all
    from arsbench.running.progress import make_progress

    found = reproduce_all(
        out, protector or PROTECTORS, manipulator, images, device, lambda: make_progress(True), note=say
    )
    for path in found.files:
        click.echo(str(path))
    for name, reason in found.void.items():
        say(f"{name} is void: {reason}")
    for sentence in found.failures:
        say(sentence)
    if found.failures:
        return BAD_INPUT
    return FINDING if found.void else DONE
