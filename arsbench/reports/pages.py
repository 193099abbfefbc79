"""Static pages: what the leaderboard's and those of one's own run share. No server, no request, nothing from elsewhere.

Every text goes through templates that escape it: names and addresses of entries are strangers'.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import pandas as pd
from markupsafe import Markup

from arsbench.contracts import ArsbenchError
from arsbench.reports import charts, csv, latex
from arsbench.reports.charts import Line
from arsbench.reports.selection import TO_BEAT, perturbation_label
from arsbench.reports.standing import CURVES, METRICS, NOTHING, UNDER_ATTACK, WORST, WORST_KNOWN, Standing, ordered
from arsbench.reports.table import Block, Cell, Column, Row, Table, Value, heading, number
from arsbench.reports.tables.pieces import column as metric_column

MARKER = "arsbench-pages.txt"
"""Lists the files of a folder of pages; a folder without it is not written over."""
SHARES = ("sr_strict", WORST, UNDER_ATTACK, WORST_KNOWN, "sr", "sr_mask", "unrecovered")
FIRST = ("sr_strict", WORST, UNDER_ATTACK, "sr", "sr_mask", "lpips", "amplification", "protected_psnr", "seconds")
"""The metrics of the board that are seen at once; the others on request."""
INTERVALS = ("sr_strict", WORST, UNDER_ATTACK)
"""Beside which the interval stands; it is in the CSV and the JSON for all."""
MEANINGS = {
    "sr_strict": "share of images that are protected: SR, unrecovered above 0.25 and amplification above 1",
    WORST: "share of images for which sr_strict holds under every perturbation",
    UNDER_ATTACK: "sr_strict under the known removal or perturbation that leaves least; the entry's page names it",
    WORST_KNOWN: "share of images for which sr_strict holds under every perturbation and every known removal",
    "sr": "share of images whose manipulated output changed by an MSE above 0.05",
    "sr_mask": "SR where the manipulator changed the picture",
    "lpips": "perceptual distance of the output from what it was without protection",
    "psnr": "likeness of the output to what it was without protection, dB",
    "ssim": "likeness of the output to what it was without protection",
    "mse": "distance of the output from what it was without protection",
    "amplification": "median of the outputs' MSE over the inputs' MSE: above 1 the manipulator did it",
    "unrecovered": "share of the manipulation that no levels tool restores",
    "protected_psnr": "likeness of the protected picture to the face, dB",
    "seconds": "seconds per image of protecting",
}


@dataclass(frozen=True)
class Board:
    """Protectors that may be compared: of one protocol, track, budget and set of images.

    Attributes:
        name: for files and addresses; letters, digits and hyphens.
        title: what they share.
        standings: entries and controls.
        notes: sentences under the table.
        place: what its places are called: ``rank`` or ``tier``.
    """

    name: str
    title: str
    standings: tuple[Standing, ...]
    notes: tuple[str, ...] = ()
    place: str = "rank"

    @cached_property
    def entries(self) -> list[Standing]:
        """Without the controls."""
        return [standing for standing in self.standings if not standing.control]

    @cached_property
    def manipulators(self) -> list[str]:
        """By alphabet."""
        return sorted({name for standing in self.standings for name in standing.manipulators})

    @cached_property
    def metrics(self) -> list[str]:
        """Those that any standing has."""
        return [metric for metric in METRICS if any(metric in standing.overall for standing in self.standings)]

    @cached_property
    def lines(self) -> list[Standing]:
        """The controls that an entry has to beat."""
        return [standing for standing in self.standings if standing.control and standing.name in TO_BEAT]

    @property
    def level(self) -> int:
        """The strongest level."""
        return max((standing.level for standing in self.standings), default=0)


# --- the environment ------------------------------------------------------------------------------------------------


def environment(*more: jinja2.BaseLoader) -> jinja2.Environment:
    """Templates that escape everything; ``more`` loaders come before this package's own."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([*more, jinja2.PackageLoader("arsbench.reports")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=shown, web=web_link, order=order, percent=percent, perturbation=perturbation_label, heading=heading
    )
    made.globals.update(
        thumbnail=thumbnail, curve_panels=curve_panels, model_panels=model_panels, column=page_column,
        MEANINGS=MEANINGS, FIRST=FIRST, INTERVALS=INTERVALS, TO_BEAT=TO_BEAT, nothing=NOTHING,
    )  # fmt: skip
    return made


def page_column(metric: str) -> Column:
    """Name, digits and direction of a metric, as in every table."""
    return metric_column(metric)


def shown(value: float | Value, metric: str) -> str:
    """A number with the digits of its metric; an en dash where there is none."""
    plain = value.value if isinstance(value, Value) else float(value)
    return number(plain, page_column(metric).digits)


def order(value: float | Value) -> str:
    """A number for sorting; empty where there is none."""
    plain = value.value if isinstance(value, Value) else float(value)
    return f"{plain:.9g}" if math.isfinite(plain) else ""


def percent(share: float) -> str:
    """A share of 0 .. 1 as a percentage for the style sheet."""
    return f"{100 * min(max(share, 0.0), 1.0):.0f}%" if math.isfinite(share) else "0%"


def web_link(address: str) -> str:
    """The address if it is one of the web, else empty: nothing else becomes a link."""
    address = address.strip()
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    plain = not re.search(r"[\s\x00-\x1f\x7f<>\"\\]", address)
    return address if parts.scheme in ("http", "https") and parts.netloc and plain else ""


# --- charts ---------------------------------------------------------------------------------------------------------


def _rivals(standing: Standing, board: Board, metric: str, manipulator: str | None = None) -> list[Line]:
    """The curves of the controls to beat, without the standing itself."""
    lines = [line for line in board.lines if line.name != standing.name]
    return [Line(line.name, line.curve(metric, manipulator), line.name) for line in lines]


def thumbnail(standing: Standing, board: Board) -> Markup:
    """sr_strict over the levels, with the controls to beat."""
    own = Line(standing.name, standing.curve("sr_strict"))
    return charts.thumbnail(own, _rivals(standing, board, "sr_strict"))


def curve_panels(standing: Standing, board: Board) -> list[tuple[str, Markup]]:
    """A panel per metric: its heading and the chart over the levels, all manipulators together."""
    panels = []
    for metric in CURVES:
        values = standing.curve(metric)
        if values:
            title = heading(page_column(metric))
            own = Line(standing.name, values, "own", standing.bands if metric == "sr_strict" else None)
            lines = [*_rivals(standing, board, metric), own]
            panels.append((title, charts.panel(title, lines, metric in SHARES, page_column(metric).digits)))
    return panels


def model_panels(standing: Standing, board: Board) -> list[tuple[str, Markup]]:
    """A panel of sr_strict per manipulator."""
    panels = []
    for model in standing.manipulators:
        own = Line(standing.name, standing.curve("sr_strict", model))
        lines = [*_rivals(standing, board, "sr_strict", model), own]
        panels.append((model, charts.panel(f"sr_strict against {model}", lines, share=True)))
    return panels


# --- a board to copy ------------------------------------------------------------------------------------------------


def board_table(board: Board) -> Table:
    """The board as a table of the reports, for LaTeX and CSV."""
    metrics = board.metrics
    columns = (
        Column(board.place, essential=True),
        Column("name", essential=True),
        *(metric_column(metric, interval=metric in INTERVALS) for metric in metrics),
    )

    def row(standing: Standing) -> Row:
        cells: list[Cell] = [standing.rank, standing.name, *(standing.value(metric) for metric in metrics)]
        return Row(tuple(cells), "; ".join(mark.meaning.rstrip(".") for mark in standing.marks))

    standings = ordered(board.standings)
    blocks = [Block(tuple(row(s) for s in standings if not s.control))]
    controls = tuple(row(s) for s in standings if s.control)
    blocks += [Block(controls, "controls")] if controls else []
    return Table(board.title, f"board-{board.name}", columns, tuple(blocks), board.notes, (), 1)


def copies(board: Board) -> dict[str, str]:
    """The board as text: file suffix -> LaTeX, CSV or JSON."""
    table = board_table(board)
    return {"tex": latex.render(table), "csv": csv.render([table]), "json": board_json(board)}


def board_json(board: Board) -> str:
    """The board for a script: numbers as numbers, ``null`` where there is none."""
    lines = [
        {
            "name": standing.name,
            "page": f"{standing.page}.html",
            board.place: standing.rank,
            "kind": standing.kind,
            "withdrawn": standing.withdrawn,
            "verified_tier": standing.tier.tier if standing.tier else None,
            "marks": [mark.meaning for mark in standing.marks],
            "metrics": {metric: _triple(standing.value(metric)) for metric in board.metrics},
            "sr_strict_by_manipulator": {
                model: _triple(values["sr_strict"])
                for model, values in standing.by_manipulator.items()
                if "sr_strict" in values
            },
        }
        for standing in ordered(board.standings)
    ]
    return json.dumps({"board": board.title, "lines": lines}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _triple(value: Value) -> list[float | None]:
    return [float(f"{end:.9g}") if math.isfinite(end) else None for end in value]


def cells_csv(cells: pd.DataFrame) -> str:
    """The means of an entry's cells."""
    return cells.to_csv(index=False, float_format="%.9g", lineterminator="\n")


# --- writing --------------------------------------------------------------------------------------------------------


class Folder:
    """A folder of pages being written; what an earlier build left and this one does not is removed at the end.

    An interrupted build leaves a folder that the next one takes over: every file is listed before it is written.

    Args:
        path: a new or empty folder, or one that holds pages.

    Raises:
        ArsbenchError: the folder holds something else, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._marker = path / MARKER
        self._written: dict[str, None] = {}
        try:
            if path.exists() and any(path.iterdir()) and not self._marker.is_file():
                raise ArsbenchError(f"{path} is not empty and holds no pages of arsbench; give another --out folder")
            path.mkdir(parents=True, exist_ok=True)
            self._before = self._marker.read_text(encoding="utf-8").splitlines() if self._marker.exists() else []
            self._marker.touch()
        except OSError as error:
            raise _unwritable(path, error) from error

    def write(self, name: str, content: str | bytes) -> None:
        """A file, by its path from the folder with forward slashes.

        Raises:
            ArsbenchError: it cannot be written.
        """
        path = self.path / name
        try:
            with self._marker.open("a", encoding="utf-8") as marker:
                marker.write(f"{name}\n")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise _unwritable(path, error) from error
        self._written[name] = None

    def finish(self) -> None:
        """Writes the static files, and removes what is no longer part of the pages."""
        for asset in (importlib.resources.files("arsbench.reports") / "static").iterdir():
            if asset.is_file():
                self.write(f"static/{asset.name}", asset.read_bytes())
        try:
            for name in self._before:
                inside = not Path(name).is_absolute() and ".." not in Path(name).parts
                if name and inside and name not in self._written:
                    gone = self.path / name
                    gone.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # it holds other files, too
                        gone.parent.rmdir()
            self._marker.write_text("".join(f"{name}\n" for name in sorted(self._written)), encoding="utf-8")
        except OSError as error:
            raise _unwritable(self.path, error) from error


def _unwritable(path: Path, error: OSError) -> ArsbenchError:
    return ArsbenchError(f"{path} cannot be written: {error.strerror or error}")


def write_board(
    folder: Folder,
    made: jinja2.Environment,
    boards: Sequence[Board],
    texts: Mapping[str, Mapping[str, str]] | None = None,
    **context: Any,
) -> None:
    """``index.html`` with every board, and the boards as files to copy.

    Args:
        folder: of the pages.
        made: the environment.
        boards: the first is on top.
        texts: board -> file suffix -> the board as text; made here if left out.
        context: what else the template takes: ``title``, ``lead``, ``warnings``, ``filters``, ``pages``.
    """
    texts = texts or {board.name: copies(board) for board in boards}
    for name, by_suffix in texts.items():
        for suffix, text in by_suffix.items():
            folder.write(f"data/{name}.{suffix}", text)
    index = made.get_template("board.html.j2").render(
        boards=boards, texts=texts, ordered=ordered, root="", here="index.html", **context
    )
    folder.write("index.html", index)
