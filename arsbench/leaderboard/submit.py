"""Makes an entry: the locked protocol over the whole grid, and one folder with all that a verifier needs."""

from __future__ import annotations

import datetime
import math
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from arsbench import registry
from arsbench.cards import file_sha256
from arsbench.contracts import ArsbenchError
from arsbench.faces.lossless import LARGEST_FILE, picture_name
from arsbench.faces.made_elsewhere import MadeElsewhere
from arsbench.leaderboard.aggregates import aggregates_of, cells_of, seconds_of
from arsbench.leaderboard.entry import CODE, PICTURES, ROWS, Cost, Entry, Flag, Method, write_entry
from arsbench.leaderboard.files import made_whole, write_rows
from arsbench.leaderboard.grid import EPSILON, SEED, compute, prepared_for
from arsbench.protocol import groups
from arsbench.running.prepare import RUNS, Prepared
from arsbench.running.progress import NoProgress
from arsbench.scoring.controls import Verdict, verdict

BOARD = Path("results/leaderboard")
"""Where entries lie in the repository."""
LARGEST_CODE = 100_000_000
"""Bytes of a file of code or weights."""


@dataclass(frozen=True)
class Submission:
    """What an author says; :class:`arsbench.leaderboard.entry.Entry` says what each means.

    Attributes:
        method: a name, ``FILE.py:Class`` or ``folder:DIR``.
        name: of the entry.
        out: the entry's folder, made anew.
        beside: files that the method reads from its own folder, such as weights.
        runs: folders of runs whose rows are taken where they would be computed alike.
    """

    method: str
    name: str
    out: Path
    authors: Sequence[str]
    paper: str = ""
    code: str = ""
    licence: str = "MIT"
    trained_on: Sequence[str] = ()
    images: int = 100
    track: str = "open"
    beside: Sequence[Path] = field(default_factory=tuple)
    runs: Sequence[Path] = field(default_factory=tuple)


class VoidRun(ArsbenchError):
    """The controls miss: the numbers mean nothing."""


def submit(given: Submission, flags: Sequence[Flag] = (), progress: NoProgress | None = None) -> Entry:
    """Runs the method over every manipulator, perturbation and level, and writes the entry's folder.

    The rows are kept in ``runs/`` meanwhile: the same command goes on where it was stopped.

    Args:
        given: what the author says.
        flags: the findings of ``arsbench check``.
        progress: what is shown meanwhile.

    Raises:
        ArsbenchError: something that was given cannot be used, the method fails, or the folder is there.
        VoidRun: the controls miss.
    """
    refuse_early(given)
    prepared, name = prepared_for(given.method, given.track, given.images)
    plan = prepared.plan
    rows, failures = compute(
        prepared,
        lambda cell, _: cell.protector == name or (cell.protector in ("none", "noise") and cell.severity.level == 0),
        RUNS / f"entry-{plan.key}",
        progress,
        given.runs,
    )
    if failures:
        raise ArsbenchError(failures[0].sentence)
    for manipulator in plan.manipulators:
        judged: Verdict = verdict(rows, manipulator)
        if judged.void:
            raise VoidRun(f"the run is void for manipulator '{manipulator}': {judged.reason}")
    own = rows[rows["protector"] == name].reset_index(drop=True)
    return _write(given, prepared, own, flags)


def refuse_early(given: Submission) -> None:
    """Raises ArsbenchError for what can be seen to be unusable before anything runs."""
    registry.check_name(given.name)
    if given.out.exists():
        raise ArsbenchError(f"{given.out} is there already; entries are not overwritten: give another --out")
    if not given.authors:
        raise ArsbenchError("an entry has authors; give --author, once for each")
    board = groups("perturbation")["all"]
    for perturbation in given.trained_on:
        if perturbation not in board:
            raise registry.unknown("perturbation", perturbation, board)
    check_beside(given.method, given.beside)


def check_beside(method: str, beside: Sequence[Path]) -> None:
    """Raises ArsbenchError where the files that a method reads from its own folder cannot be submitted with it."""
    path = file_of(method)
    if beside and path is None:
        raise ArsbenchError("--with goes with a method of the form FILE.py:Class")
    for extra in beside:
        if path is None or extra.resolve().parent != path.resolve().parent or not extra.is_file():
            raise ArsbenchError(f"{extra} does not lie beside the method's file, where the method would look for it")
        if extra.suffix == ".py":
            raise ArsbenchError(f"{extra} is code, and a method is one file; put what it needs of it into that file")
        if extra.stat().st_size > LARGEST_CODE:
            raise ArsbenchError(f"{extra} has more than {LARGEST_CODE} bytes; an entry's file must be smaller")


def file_of(method: str) -> Path | None:
    """The file of ``FILE.py:Class``; ``None`` for any other method."""
    path = method.rpartition(":")[0]
    return Path(path) if path.endswith(".py") else None


# --- the folder -----------------------------------------------------------------------------------------------------


def _write(given: Submission, prepared: Prepared, rows: pd.DataFrame, flags: Sequence[Flag]) -> Entry:
    """Writes the folder."""
    with made_whole(given.out) as folder:
        method = _method(given, prepared, folder)
        if method.kind == "pictures":
            rows = rows.assign(seconds=math.nan)
        write_rows(rows, folder)
        header = prepared.header()
        entry = Entry(
            format=1,
            name=given.name,
            authors=list(given.authors),
            paper=given.paper,
            code=given.code,
            licence=given.licence,
            method=method,
            trained_on=list(given.trained_on),
            track="paper" if given.track == "paper" else "open",
            epsilon=EPSILON,
            seed=SEED,
            images=len(prepared.plan.images),
            protocol_hash=prepared.plan.protocol_hash,
            versions=header["versions"],
            revision=header["git_revision"],
            rows_sha256=file_sha256(folder / ROWS),
            weights_sha256=_weights(header["weights_sha256"], str(rows["protector"].iloc[0])),
            aggregates=aggregates_of(rows),
            by_cell=cells_of(rows),
            cost=Cost(seconds_per_image=seconds_of(rows), hardware=_hardware(header)),
            flags=list(flags),
            submitted=datetime.datetime.now(datetime.timezone.utc).date(),
            withdrawn=None,
        )
        write_entry(folder, entry)
    return entry


def _method(given: Submission, prepared: Prepared, folder: Path) -> Method:
    """Copies the method's file or pictures and says what they are."""
    found = registry.find("protector", given.method)
    path = file_of(given.method)
    if issubclass(found.cls, MadeElsewhere):
        copied = _copy_pictures(found.cls, prepared, folder / PICTURES)
        return Method(kind="pictures", class_="", files=hashes_of(folder, copied))
    if path is None:
        return Method(kind="code", class_=f"arsbench:{given.method}", files={})
    return copied_code(given.method, path, given.beside, folder)


def copied_code(method: str, path: Path, beside: Sequence[Path], folder: Path) -> Method:
    """Copies a method's file and what it reads beside it into ``folder/code``, and says what they are."""
    (folder / CODE).mkdir()
    copied = [Path(shutil.copyfile(source, folder / CODE / source.name)) for source in (path, *beside)]
    return Method(kind="code", class_=method.rpartition(":")[2], files=hashes_of(folder, copied))


def _copy_pictures(cls: type[MadeElsewhere], prepared: Prepared, target: Path) -> list[Path]:
    source = cls.folder
    assert source is not None
    own = [name for name in prepared.plan.manipulators if (source / name).is_dir()]
    places = [(source / name, target / name) for name in own]
    if len(own) < len(prepared.plan.manipulators):
        places.append((source, target))
    copied = []
    for origin, place in places:
        place.mkdir(parents=True, exist_ok=True)
        for image in prepared.plan.images:
            name = picture_name(image.key)
            if (origin / name).stat().st_size > LARGEST_FILE:
                raise ArsbenchError(f"{origin / name} is larger than a picture of this track can be")
            copied.append(place / name)
            shutil.copyfile(origin / name, copied[-1])
    return copied


def hashes_of(folder: Path, paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of files by their path in ``folder``."""
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(paths)}


def _weights(found: dict[str, str], protector: str) -> dict[str, str]:
    """Of the manipulators, the metrics and this protector; the controls have none."""
    return {
        name: digest
        for name, digest in found.items()
        if not name.startswith("protector ") or name.startswith(f"protector {protector} against ")
    }


def _hardware(header: dict[str, dict[str, str]]) -> str:
    device = header["device"]
    return f"{device['type']} {device['name']}, {os.cpu_count()} cores, {platform.system()}"


# --- the pull request -----------------------------------------------------------------------------------------------


def pull_request(entry: Entry, out: Path) -> list[list[str]]:
    """The commands that propose an entry, to be run in a checkout of the repository."""
    place, branch = BOARD / entry.name, f"entry-{entry.name}"
    copy = [] if out.resolve() == place.resolve() else [["cp", "-r", str(out), str(place)]]
    title = f"Leaderboard entry: {entry.name}"
    return [
        ["git", "switch", "-c", branch],
        *copy,
        ["git", "add", str(place)],
        ["git", "commit", "-m", title],
        ["git", "push", "-u", "origin", branch],
        ["gh", "pr", "create", "--title", title, "--body", f"Made by arsbench submit; protocol {entry.protocol_hash}."],
    ]


def open_pull_request(commands: Sequence[Sequence[str]]) -> None:
    """Runs the commands, in order.

    Raises:
        ArsbenchError: this is no checkout, or a command fails; those before it are done.
    """
    if not BOARD.parent.is_dir():
        raise ArsbenchError(f"there is no {BOARD.parent} here; run this at the top of a checkout of arsbench")
    BOARD.mkdir(exist_ok=True)
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise ArsbenchError(f"{command[0]} cannot be run ({error.strerror}); run the commands yourself") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ArsbenchError(f"'{' '.join(command[:3])}' failed: {said[-1] if said else done.returncode}")
