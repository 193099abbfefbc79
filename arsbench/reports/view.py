"""A page of one's own run: the look of the leaderboard's pages, and beyond them every image, worst first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.registry import find, found_again
from arsbench.reports import pages, sheets
from arsbench.reports.pages import Board, Folder
from arsbench.reports.selection import at_budget, budgets, require_complete, trained_on
from arsbench.reports.sheets import Sheets, Shown
from arsbench.reports.standing import METRICS, Standing, from_rows, per_image
from arsbench.reports.table import number
from arsbench.running.manifest import cell_keys, epsilons_of, read_manifest
from arsbench.running.prepare import Prepared, prepare
from arsbench.running.progress import NoProgress
from arsbench.running.provenance import version_of
from arsbench.running.results import read_runs
from arsbench.running.settings import Settings

FACES = 3
"""Whose pictures are made again, of each protector, worst first."""
LISTED = 300
"""Images in a page's list; the CSV beside it has them all."""


@dataclass(frozen=True)
class Written:
    """What :func:`view` made.

    Attributes:
        index: the page to open.
        notes: sentences that the reader should see.
    """

    index: Path
    notes: tuple[str, ...]


def view(run: Path, out: Path, faces: int = FACES, progress: NoProgress | None = None) -> Written:
    """Writes static pages of a run: a board, and for every protector its curves, heat map, images and worst faces.

    Args:
        run: the run's folder; one that is not finished shows what there is.
        out: a new or empty folder, or one that holds pages.
        faces: of how many images, worst first, the pictures are made again; 0 for none.
        progress: is told of every sheet of pictures.

    Raises:
        ArsbenchError: not a run, a run without rows, or ``out`` holds something else.
    """
    progress = progress or NoProgress()
    if faces < 0:
        raise ArsbenchError(f"faces is {faces}; give 0 or more")
    manifest = read_manifest(run)
    rows, void, notes = read_runs([run], partial=True)
    require_complete(rows, partial=True)
    folder = Folder(out)
    warnings = [*([f"This run is void: {void}."] if void else []), *_lacking(rows, manifest)]
    boards = _boards(rows, manifest)
    prepared, unseen = _prepared(manifest, run) if faces else (None, [])
    notes += unseen
    made = pages.environment()
    made.globals.update(version=version_of("arsbench"), site="arsbench run")
    known = set(prepared.plan.protectors) if prepared is not None else set()
    standings = [(epsilon, board, one) for epsilon, board in boards for one in board.standings]
    with progress:
        if prepared is not None:
            met = sum(len(one.manipulators) for _, _, one in standings if one.protector in known)
            progress.start(met * len(sheets.perturbations_of(prepared)), unit="sheets of faces")
        for epsilon, board, standing in standings:
            own = at_budget(rows, epsilon) if math.isfinite(epsilon) else rows
            same = (own["protector"] == standing.protector) & (trained_on(own) == standing.trained_on)
            lines = per_image(own[same])
            shown, reason = None, " ".join(unseen) or "Pictures were not asked for."
            if prepared is not None and standing.protector in known:
                shown, reason = _faces(folder, prepared, standing, lines, faces, epsilon, progress)
                notes += [reason] if reason else []
            _write_page(folder, made, board, standing, lines, shown, reason)
    pages.write_board(
        folder,
        made,
        [board for _, board in boards],
        title=f"Run {run.name or run.resolve().name}",
        lead="Protectors and controls of one run. A protector's page has its curves, and its images, worst first.",
        warnings=warnings,
        navigation=(),
        filters=False,
        pages="",
    )
    folder.finish()
    return Written(out / "index.html", tuple(dict.fromkeys(notes)))


def _write_page(
    folder: Folder,
    made: jinja2.Environment,
    board: Board,
    standing: Standing,
    lines: pd.DataFrame,
    shown: Sheets | None,
    reason: str,
) -> None:
    name = standing.page
    folder.write(f"data/{name}-cells.csv", pages.cells_csv(standing.cells))
    folder.write(f"data/{name}-images.csv", pages.cells_csv(lines))
    metrics = [metric for metric in METRICS if metric in lines and not lines[metric].isna().all()]
    page = made.get_template("view.html.j2").render(
        title=standing.name,
        standing=standing,
        board=board,
        tied=[other.name for other in board.entries if other is not standing and other.rank == standing.rank],
        shown=shown,
        no_faces=reason,
        cells_file=f"{name}-cells.csv",
        images_file=f"{name}-images.csv",
        images=lines.head(LISTED).to_dict("records"),
        total=len(lines),
        metrics=metrics,
        navigation=(),
        root="",
        here=f"{name}.html",
    )
    folder.write(f"{name}.html", page)


# --- pictures -------------------------------------------------------------------------------------------------------


def _faces(
    folder: Folder,
    prepared: Prepared,
    standing: Standing,
    lines: pd.DataFrame,
    faces: int,
    epsilon: float,
    progress: NoProgress,
) -> tuple[Sheets | None, str]:
    """The worst images' sheets, or why there are none."""
    place = {image.key: index for index, image in enumerate(prepared.plan.images)}
    worst = [line for line in lines.to_dict("records") if line["image"] in place][:faces]
    indices = [place[line["image"]] for line in worst]
    where = f"faces/{standing.page}"

    def advance() -> None:
        progress.advance(1, standing.name)

    try:
        drawn = sheets.draw(
            prepared,
            indices,
            standing.protector,
            None,
            lambda name, content: folder.write(f"{where}/{name}", content),
            advance,
            epsilon,
            standing.trained_on,
        )
    except ArsbenchError as error:
        return None, _sentence(f"The pictures of {standing.name} cannot be made again: {error}")
    return (
        Sheets(
            where,
            tuple(Shown(str(line["image"]), _said(line)) for line in worst),
            drawn,
            sheets.perturbations_of(prepared),
            sheets.levels_of(prepared),
        ),
        "",
    )


def _said(line: dict[Any, Any]) -> str:
    return f"held in {int(line['held'])} of {int(line['cells'])} cells"


def _prepared(manifest: dict[str, Any], run: Path) -> tuple[Prepared | None, list[str]]:
    """The run's methods and faces, as far as they are found again; and sentences about what is not."""
    plan, notes = manifest["plan"], []
    found = []
    for name in plan["protectors"]:
        try:
            spec = _spec(manifest, "protector", name)
            find("protector", spec)
            found.append(spec)
        except ArsbenchError as error:
            notes.append(_sentence(f"The pictures of {name} cannot be made again: {error}"))
    kinds = list(dict.fromkeys(name for name, level, _ in plan["severities"] if level > 0))
    try:
        prepared = prepare(
            Settings(
                protector=tuple(found) or "none",
                manipulator=tuple(_spec(manifest, "manipulator", name) for name in plan["manipulators"]),
                perturbation=tuple(_spec(manifest, "perturbation", name) for name in kinds) or "none",
                level=[level for _, level, _ in plan["severities"]],
                images=len(plan["images"]),
                track=plan["track"],
                epsilon=epsilons_of(plan),
                seed=plan["seed"],
                device="cpu" if plan["device"] == "cpu" else "auto",
                faces=manifest.get("faces"),
                skip_bad=True,  # what could not be read was left out of the run, too
                trained_on=tuple(_spec(manifest, "manipulator", name) for name in plan.get("trained_on", ())) or None,
            )
        )
    except ArsbenchError as error:
        return None, [_sentence(f"The pictures of {run} cannot be made again: {error}")]
    if {image.key: image.digest for image in prepared.plan.images} != plan["images"]:
        return None, [f"The pictures of {run} cannot be made again: its faces are no longer what they were."]
    keys = cell_keys(plan)
    if any(keys.get(cell.label, cell.key) != cell.key for cell in prepared.plan.cells):
        notes.append(f"Code or weights have changed since {run} was computed; the pictures show what they make now.")
    return prepared, notes


def _spec(manifest: dict[str, Any], kind: str, name: str) -> str:
    try:
        return found_again(kind, name, manifest["origins"][f"{kind}s"][name])
    except KeyError as error:
        raise ArsbenchError(f"the manifest does not say where {kind} '{name}' is from") from error


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


# --- words ----------------------------------------------------------------------------------------------------------


def _boards(rows: pd.DataFrame, manifest: dict[str, Any]) -> list[tuple[float, Board]]:
    """Budget -> its board: of several budgets, each has one."""
    found = budgets(rows) or [math.nan]
    images = rows["image"].nunique()
    boards = []
    for epsilon in found:
        own = at_budget(rows, epsilon) if math.isfinite(epsilon) else rows
        suffix = f"--epsilon-{epsilon:g}" if len(found) > 1 else ""
        budget = f"epsilon {epsilon:g}" if math.isfinite(epsilon) else "no budget"
        title = f"Track {manifest['track']}, {budget}, {images} image{'s' if images != 1 else ''}"
        name = f"run{suffix}".replace(".", "-")
        boards.append((epsilon, Board(name, title, tuple(from_rows(own, suffix)), _notes(own))))
    return boards


def _notes(rows: pd.DataFrame) -> tuple[str, ...]:
    level = int(rows["level"].max())
    return (
        f"Means over images, manipulators and perturbations at level {level}; amplification is the median. "
        "The small range is the 95 % bootstrap interval over images.",
        "Protectors that a paired bootstrap over the same images cannot tell apart share a rank. "
        "Without a rank: a control, or protectors that were not all run on the same cells.",
    )


def _lacking(rows: pd.DataFrame, manifest: dict[str, Any]) -> list[str]:
    plan = manifest["plan"]
    wanted = len(plan["cells"]) * len(plan["images"])
    if len(rows) >= wanted:
        return []
    share = number(100 * len(rows) / wanted, 1) if wanted else number(math.nan, 1)
    return [f"This run is not complete: {share} % of its {wanted} rows are there."]
