"""Tries a removal on entries: their protected pictures, taken through it, given to every manipulator."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from arsbench import registry
from arsbench.cards import file_sha256
from arsbench.contracts import ArsbenchError, Levels, Perturbation
from arsbench.faces.delivery import from_bytes, to_bytes
from arsbench.faces.lossless import Pixels
from arsbench.leaderboard.aggregates import LEVEL
from arsbench.leaderboard.entry import ROWS, Entry, Method, read_entry
from arsbench.leaderboard.files import Wanted, made_whole, perturbed_by, protected_by, write_rows
from arsbench.leaderboard.given import given_protector
from arsbench.leaderboard.grid import compute, prepared_for
from arsbench.leaderboard.removal import Removal, write_removal
from arsbench.leaderboard.submit import check_beside, copied_code, file_of
from arsbench.protocol import protocol
from arsbench.running.progress import NoProgress


@dataclass(frozen=True)
class Challenge:
    """What the author of a removal says; :class:`arsbench.leaderboard.removal.Removal` says what each means.

    Attributes:
        removal: the name of a perturbation, or ``FILE.py:Class``; its strongest level is used.
        name: of the removal.
        out: its folder, made anew.
        entries: folders of the entries that it is tried on.
        beside: files that it reads from its own folder, such as weights.
    """

    removal: str
    name: str
    out: Path
    authors: Sequence[str]
    entries: Sequence[Path]
    paper: str = ""
    code: str = ""
    licence: str = "MIT"
    track: str = "open"
    beside: Sequence[Path] = ()


def attack(given: Challenge, progress: NoProgress | None = None) -> Removal:
    """Tries a removal on entries and writes its folder.

    Code of an entry and of a removal runs apart (:mod:`arsbench.leaderboard.sandbox`) and gives pictures alone.

    Raises:
        ArsbenchError: what is given cannot be used, the folder is there, or a method fails.
    """
    if given.out.exists():
        raise ArsbenchError(f"{given.out} is there already; removals are not overwritten: give another --out")
    if not given.authors:
        raise ArsbenchError("a removal has authors; give --author, once for each")
    registry.check_name(given.name)
    check_beside(given.removal, given.beside)
    registry.find("perturbation", given.removal)
    entries = {folder: entry for folder in given.entries if _counts(entry := read_entry(folder), given.track)}
    if not entries:
        raise ArsbenchError(f"there is no entry of track '{given.track}' and of this protocol to try it on")
    rows = [rows_under(given.removal, given.name, folder, entry, progress) for folder, entry in entries.items()]
    return _write(given, list(entries.values()), pd.concat(rows, ignore_index=True))


def _counts(entry: Entry, track: str) -> bool:
    return entry.track == track and entry.protocol_hash == protocol(track).hash and entry.withdrawn is None


def rows_under(
    removal: str,
    name: str,
    folder: Path,
    entry: Entry,
    progress: NoProgress | None = None,
    manipulators: Sequence[str] | None = None,
    images: Sequence[int] | None = None,
) -> pd.DataFrame:
    """The rows of one entry under a removal: what it makes of the faces and of the protected pictures is scored.

    Args:
        removal: the name of a perturbation, or ``FILE.py:Class``.
        name: of the removal, as it stands in the rows.
        folder: of the entry.
        entry: read from it; its name stands in the rows as protector.
        progress: what is shown meanwhile.
        manipulators: which; all if left out.
        images: which of the entry's images; all if left out.

    Raises:
        ArsbenchError: the entry's method or the removal fails or is stopped.
    """
    whole, _ = prepared_for("none", entry.track, entry.images)
    chosen = range(entry.images) if images is None else images
    models, keys = manipulators or whole.plan.manipulators, [whole.plan.images[i].key for i in chosen]
    faces = np.stack([whole.source.pixels(i) for i in chosen])
    made = protected_by(folder, entry, Wanted(models, keys, faces))
    sets = [faces, *made.values()]
    cleaned = perturbed_by(removal, np.concatenate(sets), keys * len(sets), entry.track)
    looked_up = {
        (key, before.tobytes()): after
        for key, before, after in zip(keys * len(sets), np.concatenate(sets), cleaned, strict=True)
    }
    protector = given_protector(made, keys, ceiling=entry.method.class_ == "arsbench:white")
    taken_off = type("GivenRemoval", (_GivenRemoval,), {"name": name, "made": looked_up})
    prepared, own = prepared_for(
        protector, entry.track, entry.images, manipulator=",".join(models), perturbation=taken_off, level=LEVEL
    )
    wanted = set(keys)
    rows, failures = compute(
        prepared,
        lambda cell, image: cell.protector == own and cell.severity.level == LEVEL and image.key in wanted,
        progress=progress,
    )
    if failures:
        raise ArsbenchError(failures[0].sentence)
    return rows[rows["protector"] == own].assign(protector=entry.name)


class _GivenRemoval(Perturbation):
    """Pictures that a removal has made, for the harness to deliver, manipulate and score."""

    levels: ClassVar[Levels] = (1.0, 2.0, 3.0, 4.0, 5.0)
    batch_invariant: ClassVar[bool] = True
    made: ClassVar[Mapping[tuple[str, bytes], Pixels]]

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """What the removal made of these pictures."""
        pixels = [self.made[key, one.tobytes()] for key, one in zip(keys, to_bytes(x).cpu().numpy(), strict=True)]
        return from_bytes(torch.from_numpy(np.stack(pixels))).to(x)


def _write(given: Challenge, entries: Sequence[Entry], rows: pd.DataFrame) -> Removal:
    """Writes the folder."""
    with made_whole(given.out) as folder:
        path = file_of(given.removal)
        if path is None:
            method = Method(kind="code", class_=f"arsbench:{given.removal}", files={})
        else:
            method = copied_code(given.removal, path, given.beside, folder)
        write_rows(rows, folder)
        removal = Removal(
            format=1,
            name=given.name,
            authors=list(given.authors),
            paper=given.paper,
            code=given.code,
            licence=given.licence,
            method=method,
            track="paper" if given.track == "paper" else "open",
            protocol_hash=protocol(given.track).hash,
            entries={entry.name: entry.rows_sha256 for entry in entries},
            rows_sha256=file_sha256(folder / ROWS),
            submitted=datetime.datetime.now(datetime.timezone.utc).date(),
        )
        write_removal(folder, removal)
    return removal
