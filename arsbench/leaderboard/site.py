"""The leaderboard as static pages: the board, a page per entry, and what the numbers mean.

The pages work from a folder: no server, no request. Entries are strangers': their texts are escaped, their addresses
become links only to the web, and no code of theirs is run here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from arsbench.leaderboard.entry_faces import Faces
from arsbench.leaderboard.ranks import MARKS
from arsbench.leaderboard.standings import WORDS, Section, Submitted, boards_of, read_entries
from arsbench.protocol import protocol
from arsbench.reports import pages
from arsbench.reports.pages import Board, Folder
from arsbench.reports.standing import Standing
from arsbench.running.progress import NoProgress
from arsbench.running.provenance import version_of
from arsbench.scoring.metrics import METRICS as DEFINED

FACES = 2
"""Whose pictures an entry's page shows: the first of the board's faces, the same on every page."""
SITE = "Face protection leaderboard"
_NAVIGATION = (("index.html", "Board"), ("about.html", "About"))


@dataclass(frozen=True)
class Built:
    """What :func:`build` made.

    Attributes:
        index: the page to open.
        entries: how many entries and controls.
        notes: sentences that the reader should see: why an entry has no pictures.
    """

    index: Path
    entries: int
    notes: tuple[str, ...]


def build(
    entries: Path,
    out: Path,
    faces: int = FACES,
    progress: NoProgress | None = None,
    removals: Sequence[Path] = (),
) -> Built:
    """Builds the pages from the folders of entries.

    Args:
        entries: the folder that holds them.
        out: a new or empty folder, or one that holds pages.
        faces: of how many faces the pictures are made; 0 for none.
        progress: is told of every sheet of pictures.
        removals: folders of removals, for the best known attacks.

    Raises:
        ArsbenchError: no entries, one that cannot be read, or ``out`` holds something else.
    """
    progress = progress or NoProgress()
    submitted = read_entries(entries)
    sections = boards_of(submitted, removals)
    boards = [section.board for section in sections]
    folder = Folder(out)
    made = pages.environment(jinja2.PackageLoader("arsbench.leaderboard"))
    made.globals.update(version=version_of("arsbench"), site=SITE, navigation=_NAVIGATION)
    notes: list[str] = []
    with progress:
        for section in sections:
            painter = Faces(section.members, faces, folder)
            progress.start(painter.sheets, unit="sheets of faces")
            for standing, member in zip(section.board.standings, section.members, strict=True):
                notes += _write_entry(folder, made, section.board, standing, member, painter, progress)
    pages.write_board(
        folder,
        made,
        boards,
        title=SITE,
        lead="How well a small change to a picture keeps face manipulation models from working on it, after what "
        "platforms do to pictures. Ranked by sr_strict at the strongest level, as the protocol defines it.",
        warnings=_warnings(boards),
        filters=True,
        pages="entries/",
        texts=_texts(sections),
    )
    folder.write("about.html", _about(made, boards, submitted))
    folder.finish()
    return Built(out / "index.html", len(submitted), tuple(dict.fromkeys(notes)))


def _texts(sections: Sequence[Section]) -> dict[str, dict[str, str]]:
    """Board -> file suffix -> the board as text: LaTeX and CSV as ``leaderboard show`` prints them."""
    return {s.board.name: {**s.texts, "json": pages.board_json(s.board)} for s in sections}


def _warnings(boards: Sequence[Board]) -> list[str]:
    if len(boards) < 2:
        return []
    return [f"There are {len(boards)} boards here: entries of different tracks, protocols or budgets are not compared."]


def _write_entry(
    folder: Folder,
    made: jinja2.Environment,
    board: Board,
    standing: Standing,
    submitted: Submitted,
    painter: Faces,
    progress: NoProgress,
) -> list[str]:
    """An entry's page and its data; returns what the reader should be told."""
    shown, reason, note = painter.paint(submitted, lambda: progress.advance(1, standing.name))
    name = standing.page
    folder.write(f"data/{name}-cells.csv", pages.cells_csv(standing.cells))
    page = made.get_template("entry.html.j2").render(
        title=standing.name,
        standing=standing,
        board=board,
        tied=[
            other.name
            for other in board.entries
            if other is not standing and other.rank is not None and other.rank == standing.rank
        ],
        shown=shown,
        no_faces=reason,
        cells_file=f"{name}-cells.csv",
        root="../",
        here=f"entries/{name}.html",
    )
    folder.write(f"entries/{name}.html", page)
    return [note] if note else []


def _about(made: jinja2.Environment, boards: Sequence[Board], entries: Sequence[Submitted]) -> str:
    """The protocol in a page, from the code that computes it."""
    tracks = list(dict.fromkeys(submitted.entry.track for submitted in entries))
    protocols = {track: protocol(track) for track in tracks}
    hashes: Mapping[str, list[str]] = {
        track: sorted({s.entry.protocol_hash for s in entries if s.entry.track == track}) for track in tracks
    }
    return made.get_template("about.html.j2").render(
        title="About the board",
        protocols=protocols,
        hashes=hashes,
        definitions={metric.name: metric.definition for metric in DEFINED},
        marks={word: MARKS[letter] for letter, word in WORDS.items()},
        boards=boards,
        root="",
        here="about.html",
    )
