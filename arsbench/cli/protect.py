"""``arsbench protect``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arsbench.cli.output import BAD_INPUT, DONE, FINDING, PATH, say

if TYPE_CHECKING:
    from arsbench.photos.protect import Outcome

DEFAULT_OUT = Path("protected")
PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif"}
)
"""Files of a folder that are taken for photos."""


@click.command()
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True, type=PATH)
@click.option(
    "--protector", default="ensemble", show_default=True, help="ensemble, a protector's name, or FILE.py:Class."
)
@click.option("--manipulator", default="all", show_default=True, help="To protect against: names, a comma list, all.")
@click.option(
    "--strength",
    type=click.Choice(["low", "medium", "high"]),
    default="medium",
    show_default=True,
    help="Largest change: 12, 25 or 38 grey levels of 255.",
)
@click.option("--epsilon", type=float, help="L_inf budget in [-1, 1] units, in place of --strength.")
@click.option(
    "--faces",
    default="all",
    show_default=True,
    metavar="all|largest|BOX|none",
    help="Faces found, the largest, LEFT,TOP,RIGHT,BOTTOM in pixels (more after ';'), or the whole picture.",
)
@click.option("--format", type=click.Choice(["same", "png", "jpeg", "webp"]), default="same", show_default=True)
@click.option(
    "--quality", type=click.IntRange(1, 100), help="Of JPEG or WebP.  [default: JPEG 95 or more, WebP lossless]"
)
@click.option("--keep-location", is_flag=True, help="Keep the place in the metadata.")
@click.option("--again", is_flag=True, help="Also photos that were protected before.")
@click.option("--no-verify", is_flag=True, help="Do not give the written file to the manipulators; no page.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@click.option("--track", default="open", show_default=True, help="open or paper: whose manipulators.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--out", type=PATH, default=DEFAULT_OUT, show_default=True, metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def protect(photos: Sequence[Path], out: Path, as_json: bool, no_verify: bool, **options: Any) -> int:
    """Protect your own photos, or folders of them, at their full size.

    Each face is reduced to the manipulators' size and protected there; the noise is enlarged and added to the untouched
    original. The written file is read again and tried. Nothing is overwritten. Exit code 1: a manipulator still works.

    \b
    Example:  arsbench protect holiday.jpg --strength high --out protected
    Example:  arsbench protect PHOTOS/ --faces largest --format png
    """
    from arsbench.contracts import ArsbenchError
    from arsbench.photos.page import limits
    from arsbench.photos.protect import PhotoProtector, Wanted
    from arsbench.photos.write import OutputExistsError
    from arsbench.running.progress import make_progress

    tasks = list(_tasks(photos))
    if not tasks:
        raise click.UsageError(f"there are no photos in {', '.join(map(str, photos))}")
    protector = PhotoProtector(Wanted(**options, verify=not no_verify))
    done: list[Outcome] = []
    failed: list[str] = []
    there = 0
    with make_progress(len(tasks) > 1) as progress:
        progress.start(len(tasks), unit="photos")
        for source, name, of_folder in tasks:
            try:
                done.append(protector.protect_file(source, out, name))
                if not as_json:
                    _show(done[-1])
            except ArsbenchError as error:
                if of_folder and isinstance(error, OutputExistsError):
                    there += 1
                else:
                    failed.append(str(error))
                    say(str(error))
            progress.advance(1, source.name)
    if as_json:
        click.echo(json.dumps({"photos": [_document(outcome) for outcome in done], "failed": failed}, indent=1))
    elif any(outcome.faces for outcome in done):
        click.echo(limits(done[0].faces))
    if there:
        say(f"{there} photos of a folder were in {out} already and are left as they are")
    if failed:
        return BAD_INPUT
    return DONE if all(outcome.works for outcome in done) else FINDING


def _tasks(photos: Sequence[Path]) -> Iterator[tuple[Path, str, bool]]:
    """Each photo's file, its name under the output folder, and whether it came with a folder."""
    from arsbench.faces.folder import list_pictures

    for path in photos:
        if not path.is_dir():
            yield path, path.name, False
            continue
        listing = list_pictures(path)
        chosen = {key: file for key, file in listing.paths.items() if Path(key).suffix.lower() in PHOTO_SUFFIXES}
        if len(chosen) < len(listing.paths):
            others = len(listing.paths) - len(chosen)
            say(f"{others} other files in {path} are no photos by their names and are left out")
        for name, reason in listing.unusable.items():
            say(f"{path / name} is left out{f': {reason}' if reason else ''}")
        yield from ((file, key, True) for key, file in chosen.items())


def _show(outcome: Outcome) -> None:
    from arsbench.photos.page import levels
    from arsbench.photos.verify import PROCESSINGS

    quality = f" at quality {outcome.quality}" if outcome.quality else ""
    click.echo(f"{outcome.source} -> {outcome.path}")
    click.echo(
        f"  {outcome.width} x {outcome.height} pixels, mode {outcome.mode}, {outcome.format}{quality}; "
        f"{outcome.bytes_in} bytes before, {outcome.bytes_out} after"
    )
    click.echo(f"  changed by {levels(outcome)}")
    for note in outcome.notes:
        click.echo(f"  {note}")
    for i, face in enumerate(outcome.faces, 1):
        total = len(face.forged)
        held = ", ".join(f"{name} {face.count(name)}" for name in PROCESSINGS)
        click.echo(f"  face {i} of {len(outcome.faces)}: of {total} manipulators changed: {held}")
        working = [v.manipulator for v in face.verdicts if v.processing == "as written" and not v.holds]
        if working:
            click.echo(f"    still works on the file as written: {', '.join(working)}")
    if outcome.page is not None:
        click.echo(f"  page: {outcome.page}")


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "source": outcome.source,
        "path": str(outcome.path),
        "page": None if outcome.page is None else str(outcome.page),
        "width": outcome.width,
        "height": outcome.height,
        "mode": outcome.mode,
        "format": outcome.format,
        "quality": outcome.quality,
        "bytes_in": outcome.bytes_in,
        "bytes_out": outcome.bytes_out,
        "epsilon": outcome.epsilon,
        "changed": outcome.changed,
        "codec": outcome.codec,
        "against": outcome.against,
        "boxes": [list(box) for box in outcome.boxes],
        "verdicts": [
            {
                "face": i,
                "manipulator": verdict.manipulator,
                "processing": verdict.processing,
                "changed": verdict.holds,
                "reducers": dict(verdict.changed),
            }
            for i, face in enumerate(outcome.faces)
            for verdict in face.verdicts
        ],
        "notes": list(outcome.notes),
    }
