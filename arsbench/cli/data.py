"""``arsbench data``: the user's copies of the paper track's faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from arsbench.cli.output import DONE, PATH, Group

if TYPE_CHECKING:
    from arsbench.faces.datasets import Dataset


@click.group(cls=Group)
def data() -> None:
    """Your copies of the paper track's faces.

    \b
    Example:  arsbench data add ffhq ~/ffhq/images256
    """


@data.command("add")
@click.argument("name", type=click.Choice(("ffhq", "vggface2")))
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--skip-bad", is_flag=True, help="Leave out files that cannot be read as pictures.")
def add_data(name: str, folder: Path, skip_bad: bool) -> int:
    """Divide your copy into train, validation and test, hash its files and keep the manifest; copies no picture.

    \b
    Example:  arsbench data add vggface2 ~/vggface2/test
    """
    from arsbench.faces import datasets
    from arsbench.running.progress import make_progress

    progress = make_progress(True)
    with progress:
        shown, started = [0], []  # type: list[int], list[bool]

        def advance(done: int, total: int) -> None:
            if not started:
                started.append(True)
                progress.start(total, unit="files")
            progress.advance(done - shown[0])
            shown[0] = done

        added = datasets.add(name, folder, advance, skip_bad)
    click.echo(_described(added))
    return DONE


@data.command("list")
def list_data() -> int:
    """List the copies that were added: files of each split, and the hash over all.

    \b
    Example:  arsbench data list
    """
    from arsbench.faces import datasets

    found = datasets.added()
    if not found:
        click.echo("none; add yours with: arsbench data add ffhq DIR")
    for copy in found:
        click.echo(_described(copy))
    return DONE


def _described(copy: Dataset) -> str:
    counts = ", ".join(f"{len(files)} {split}" for split, files in copy.files.items())
    return f"{copy.name}: {counts}  {copy.folder}  SHA-256 {copy.sha256[:16]}"
