"""``arsbench faces``: the faces as files, for methods that work elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from arsbench.cli.output import DONE, PATH, Group


@click.group(cls=Group)
def faces() -> None:
    """The faces as files.

    \b
    Example:  arsbench faces export DIR --images 100
    """


@faces.command("export")
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--images", type=click.IntRange(min=1), default=100, show_default=True, help="The first so many.")
@click.option("--split", default="test", show_default=True, help="train, val or test.")
@click.option("--track", default="open", show_default=True, help="open or paper.")
def export(folder: Path, images: int, split: str, track: str) -> int:
    """Write faces as PNG into DIR. Protected under the same names, they come back as --protector folder:DIR.

    \b
    Example:  arsbench faces export faces --images 100
    """
    from arsbench.faces.export import export as write
    from arsbench.faces.tracks import faces_of
    from arsbench.protocol import check_track

    check_track(track)
    paths = write(faces_of(track, split, images), folder)
    click.echo(f"{len(paths)} faces: {folder}")
    return DONE
