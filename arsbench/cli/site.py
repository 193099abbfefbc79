"""``arsbench view`` and ``arsbench leaderboard build``: static pages."""

from __future__ import annotations

import json
from pathlib import Path

import click

from arsbench.cli.output import DONE, PATH, say

ENTRIES, REMOVALS = Path("results/leaderboard"), Path("results/removals")
"""Where the board's entries and what was tried on them lie in a checkout."""


@click.command()
@click.argument("run", metavar="RUN", type=PATH)
@click.option("--out", required=True, type=PATH, metavar="DIR", help="A folder for the pages.")
@click.option("--faces", default=3, show_default=True, help="Images whose pictures are shown, worst first; 0 for none.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def view(run: Path, out: Path, faces: int, as_json: bool) -> int:
    """Write static pages of a run: curves, heat maps, every image, and the worst faces.

    The pages work without a server. The pictures are computed anew by the run's methods.

    \b
    Example:  arsbench view runs/mine --out pages
    """
    from arsbench.reports.view import view as write
    from arsbench.running.progress import make_progress

    written = write(run, out, faces, make_progress(True))
    _told(written.index, written.notes, as_json, {})
    return DONE


@click.command()
@click.argument("entries", metavar="[ENTRIES]", type=PATH, default=ENTRIES)
@click.option("--out", required=True, type=PATH, metavar="SITE", help="A folder for the pages.")
@click.option("--faces", default=2, show_default=True, help="Faces whose pictures an entry shows; 0 for none.")
@click.option("--removals", type=PATH, default=REMOVALS, show_default=True, help="Folder of removals.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def build(entries: Path, out: Path, faces: int, removals: Path, as_json: bool) -> int:
    """Build the leaderboard's pages from a folder of entries.

    The pages work without a server. No code of an entry is run: its pictures are those stored with it, or made by the
    package's own methods.

    \b
    Example:  arsbench leaderboard build results/leaderboard --out results/leaderboard/site
    """
    from arsbench.leaderboard.removal import removals_in
    from arsbench.leaderboard.site import build as write
    from arsbench.running.progress import make_progress

    built = write(entries, out, faces, make_progress(True), removals_in(removals))
    _told(built.index, built.notes, as_json, {"entries": built.entries})
    return DONE


def _told(index: Path, notes: tuple[str, ...], as_json: bool, more: dict[str, int]) -> None:
    for note in notes:
        say(note)
    if as_json:
        click.echo(json.dumps({"index": str(index), **more, "notes": list(notes)}, indent=1))
    else:
        click.echo(f"pages: {index}")
