"""What a run leaves on disk: the manifest and the parts, written atomically; resume and status.

A part is a parquet file with whole rows. It is written beside its place, flushed to the disk and renamed, so that a
process killed at any moment leaves either the part or nothing that is ever read.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from arsbench.contracts import ArsbenchError
from arsbench.rows import COLUMNS, KEY
from arsbench.running.plan import Plan

MANIFEST = "manifest.json"
PARTS = "parts"
LOCK = ".lock"
FORMAT = 1

Columns = dict[str, list[Any]]
"""Rows, column by column."""

_ARROW = {"str": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
_LATER: dict[str, float | str] = {"identity_cosine": np.nan, "identity_distance": np.nan, "weights": ""}
"""Columns that came after the first release, with what they hold in a run that is older."""
SCHEMA = pa.schema([(column.name, _ARROW[column.dtype]) for column in COLUMNS])


@dataclass(frozen=True)
class Failure:
    """Cells that could not be computed, and why; a field that is ``None`` stands for all of its kind."""

    sentence: str
    protector: str | None = None
    manipulator: str | None = None
    perturbation: str | None = None
    level: int | None = None

    def covers(self, label: tuple[str, str, str, int]) -> bool:
        """Whether the cell of that label is among them."""
        mine = (self.protector, self.manipulator, self.perturbation, self.level)
        return all(want is None or want == have for want, have in zip(mine, label, strict=True))


@dataclass(frozen=True)
class Status:
    """Cells of a run, counted.

    Attributes:
        done: every image has its row.
        missing: images are lacking, no failure is known.
        failed: marked failed in the manifest.
        rows: rows stored.
        rows_planned: cells times images.
        state: ``running``, ``finished``, ``interrupted`` or ``failed``.
        void: reason by manipulator, empty where the run is valid.
        failures: the sentences.
    """

    done: int
    missing: int
    failed: int
    rows: int
    rows_planned: int
    state: str
    void: Mapping[str, str]
    failures: Sequence[str]


Done = npt.NDArray[np.bool_]


class Store(Protocol):
    """Where the rows of a run go."""

    def done(self) -> Done:
        """Bool ``[cells, images]``: which rows exist."""

    def append(self, columns: Columns) -> None:
        """Keeps these rows, whole or not at all."""

    def rows(self) -> pd.DataFrame:
        """All rows in canonical order."""


class MemoryStore:
    """Keeps rows in memory, nothing on disk."""

    def __init__(self, plan: Plan) -> None:
        self._order = Order.of_plan(plan)
        self._tables: list[pa.Table] = []

    def done(self) -> Done:
        """Bool ``[cells, images]``: which rows exist."""
        return self._order.done(self._tables)

    def append(self, columns: Columns) -> None:
        """Keeps these rows."""
        self._tables.append(pa.table(columns, schema=SCHEMA))

    def rows(self) -> pd.DataFrame:
        """All rows in canonical order."""
        return self._order.frame(self._tables)


class RunFolder:
    """One run on disk, open for writing by one process at a time.

    Args:
        folder: made when it is not there.
        plan: what the run computes.
        header: what else the manifest says: the protocol, versions, device.

    Raises:
        ArsbenchError: the folder cannot be written, holds a run of another plan, or another process writes into it.
    """

    def __init__(self, folder: Path, plan: Plan, header: Mapping[str, Any]) -> None:
        self.folder = folder
        self.plan = plan
        self.notes: list[str] = []
        self._order = Order.of_plan(plan)
        check_writable(folder)
        self._lock = _lock(folder)
        try:
            self.manifest = self._open_manifest(header)
            _remove_leftovers(folder)
        except BaseException:
            self.close()
            raise

    def _open_manifest(self, header: Mapping[str, Any]) -> dict[str, Any]:
        old = read_manifest(self.folder) if (self.folder / MANIFEST).exists() else None
        if old is None and any((self.folder / PARTS).glob("*.parquet")):
            raise ArsbenchError(f"{self.folder} holds rows but no {MANIFEST}; give another --out folder")
        if old is not None and old["plan"]["key"] != self.plan.key:
            raise ArsbenchError(
                f"{self.folder} holds another run: {difference(old['plan'], self.plan)}; give another --out folder"
            )
        starts = old["starts"] if old else []
        manifest = {"format": FORMAT, **header, "plan": plan_document(self.plan), "starts": starts, "failures": []}
        self._write(manifest)
        return manifest

    def update(self, **entries: Any) -> None:
        """Sets entries of the manifest and writes it."""
        self.manifest.update(entries)
        self._write(self.manifest)

    def _write(self, manifest: Mapping[str, Any]) -> None:
        text = json.dumps(manifest, indent=1, allow_nan=False)
        with _atomic(self.folder / MANIFEST) as file:
            file.write(text.encode())

    def done(self) -> Done:
        """Bool ``[cells, images]``: which rows exist; a part that cannot be read is set aside and noted."""
        good = []
        for path in part_paths(self.folder):
            table = _read_part(path, list(KEY))
            if table is None:
                path.replace(path.with_suffix(".corrupt"))
                self.notes.append(
                    f"{path} cannot be read; it was set aside as {path.stem}.corrupt, its rows are computed again"
                )
            else:
                good.append(table)
        return self._order.done(good)

    def append(self, columns: Columns) -> None:
        """Writes these rows as one part, whole or not at all."""
        table = pa.table(columns, schema=SCHEMA)
        with _atomic(self.folder / PARTS / f"{uuid.uuid4().hex}.parquet") as file:
            pq.write_table(table, file, compression="zstd")

    def rows(self) -> pd.DataFrame:
        """All rows in canonical order."""
        return self._order.frame(_whole_parts(self.folder))

    def close(self) -> None:
        """Lets another process write into the folder."""
        self._lock.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- reading --------------------------------------------------------------------------------------------------------


def read_manifest(run: str | Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        ArsbenchError: there is none, or it is not one.
    """
    path = Path(run) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        known = manifest["format"] == FORMAT and {"key", "protectors", "images"} <= manifest["plan"].keys()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArsbenchError(f"{run} is not a run: it has no {MANIFEST}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArsbenchError(f"{path} cannot be read; give another folder, or remove it and run again") from error
    if not known:
        raise ArsbenchError(f"{path} was written by another version of arsbench")
    return manifest


def read_rows(run: str | Path, failed: bool = False) -> pd.DataFrame:
    """The rows of a run in canonical order: by protector, manipulator, perturbation, level, image, as planned.

    Args:
        run: the run's folder.
        failed: also the rows of cells that are marked failed, which lack images.

    Returns:
        One row per image and cell, the columns of :mod:`arsbench.rows`; independent of batches, order and resuming.

    Raises:
        ArsbenchError: not a run, or a part of it cannot be read.
    """
    manifest = read_manifest(run)
    folder = Path(run)
    for path in part_paths(folder):
        if _read_part(path, list(KEY)) is None:
            raise ArsbenchError(f"{path} cannot be read; start the run again, which computes its rows again")
    rows = Order.of_document(manifest["plan"]).frame(_whole_parts(folder))
    return rows if failed else without_failed(rows, failures_of(manifest))


def without_failed(rows: pd.DataFrame, failures: Sequence[Failure]) -> pd.DataFrame:
    """The rows of cells that no failure covers."""
    if not failures or rows.empty:
        return rows
    labels = rows[list(KEY[:4])].drop_duplicates()
    bad = {label for label in labels.itertuples(index=False, name=None) if any(f.covers(label) for f in failures)}
    if not bad:
        return rows
    keep = ~pd.MultiIndex.from_frame(rows[list(KEY[:4])]).isin(bad)
    return rows[keep].reset_index(drop=True)


def status(run: str | Path) -> Status:
    """Counts the cells of a run: done, missing, failed.

    Raises:
        ArsbenchError: not a run.
    """
    manifest = read_manifest(run)
    order = Order.of_document(manifest["plan"])
    tables = [_read_part(path, list(KEY)) for path in part_paths(Path(run))]
    done = order.done([table for table in tables if table is not None])
    failures = failures_of(manifest)
    failed = np.array([any(f.covers(label) for f in failures) for label in order.cells], dtype=bool)
    complete = done.all(axis=1)
    return Status(
        done=int((complete & ~failed).sum()),
        missing=int((~complete & ~failed).sum()),
        failed=int(failed.sum()),
        rows=int(done.sum()),
        rows_planned=done.size,
        state=manifest.get("state", "unknown"),
        void={name: verdict["reason"] for name, verdict in manifest.get("void", {}).items() if verdict["void"]},
        failures=list(dict.fromkeys(f.sentence for f in failures)),
    )


def failures_of(manifest: Mapping[str, Any]) -> list[Failure]:
    """The failures that a manifest records."""
    return [Failure(**entry) for entry in manifest["failures"]]


def failure_documents(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Failures as the manifest records them."""
    return [asdict(failure) for failure in failures]


def part_paths(folder: Path) -> list[Path]:
    """The parts of a run."""
    return sorted((folder / PARTS).glob("*.parquet"))


def _read_part(path: Path, columns: list[str] | None = None) -> pa.Table | None:
    try:
        table = pq.read_table(path, columns=columns, partitioning=None)
    except (OSError, ValueError, pa.ArrowException):
        return None
    if columns is None:
        table = _with_later_columns(table)
    wanted = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    return table if table.schema.remove_metadata().equals(wanted) else None


def _with_later_columns(table: pa.Table) -> pa.Table:
    """``table`` with the columns that there were not when it was written."""
    for at, field in enumerate(SCHEMA):
        if field.name in _LATER and field.name not in table.column_names:
            table = table.add_column(at, field, pa.array([_LATER[field.name]] * len(table), type=field.type))
    return table


def _whole_parts(folder: Path) -> list[pa.Table]:
    return [table for path in part_paths(folder) if (table := _read_part(path)) is not None]


# --- order ----------------------------------------------------------------------------------------------------------


class Order:
    """The canonical order of a run's rows.

    Attributes:
        cells: label of each cell, in plan order.
        images: key of each image, in plan order.
    """

    def __init__(self, cells: Sequence[tuple[str, str, str, int]], images: Sequence[str]) -> None:
        self.cells = list(cells)
        self.images = list(images)

    @classmethod
    def of_plan(cls, plan: Plan) -> Order:
        """The order of a plan."""
        return cls([cell.label for cell in plan.cells], [image.key for image in plan.images])

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Order:
        """The order of a plan as the manifest holds it."""
        cells = [(c["protector"], c["manipulator"], c["perturbation"], c["level"]) for c in document["cells"]]
        return cls(cells, list(document["images"]))

    def done(self, tables: Sequence[pa.Table]) -> Done:
        """Bool ``[cells, images]``: which rows the tables hold."""
        done = np.zeros((len(self.cells), len(self.images)), dtype=bool)
        for table in tables:
            cell, image = self._positions(table.select(list(KEY)).to_pandas())
            known = (cell >= 0) & (image >= 0)
            done[cell[known], image[known]] = True
        return done

    def frame(self, tables: Sequence[pa.Table]) -> pd.DataFrame:
        """The rows of the tables in order, each once."""
        table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        rows: pd.DataFrame = table.to_pandas(deduplicate_objects=True)
        cell, image = self._positions(rows)
        place = cell * len(self.images) + image
        known = np.flatnonzero((cell >= 0) & (image >= 0))
        _, first = np.unique(place[known], return_index=True)
        rows = rows.take(known[first]).reset_index(drop=True)
        strings = [column.name for column in COLUMNS if column.dtype == "str"]
        return rows.astype(dict.fromkeys(strings, object))

    def _positions(self, keys: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Index of each row's cell and image; -1 where the plan has none."""
        cells = pd.MultiIndex.from_tuples(self.cells, names=KEY[:4])
        rows = pd.MultiIndex.from_frame(keys[list(KEY[:4])])
        images = pd.Index(self.images, dtype=object)
        return (
            np.asarray(cells.get_indexer(rows), dtype=np.int64),
            np.asarray(images.get_indexer(pd.Index(keys[KEY[4]], dtype=object)), dtype=np.int64),
        )


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan as the manifest holds it."""
    return {
        "key": plan.key,
        "track": plan.track,
        "epsilon": plan.epsilon,
        "seed": plan.seed,
        "identity": plan.identity,
        "device": plan.device,
        "protectors": list(plan.protectors),
        "manipulators": list(plan.manipulators),
        "severities": [[t.perturbation, t.level, t.parameter] for t in plan.severities],
        "cells": [dict(zip((*KEY[:4], "key"), (*cell.label, cell.key), strict=True)) for cell in plan.cells],
        "images": {image.key: image.digest for image in plan.images},
        "protocol_hash": plan.protocol_hash,
    }


def difference(old: Mapping[str, Any], plan: Plan) -> str:
    """In words, the first thing in which a plan on disk is not ``plan``."""
    new = plan_document(plan)
    for name in ("track", "epsilon", "seed", "identity", "device", "protectors", "manipulators", "protocol_hash"):
        if old.get(name) != new[name]:
            said = [", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in (old.get(name), new[name])]
            return f"{name.replace('_', ' ')}: {said[0]} there, {said[1]} here"
    if old.get("images") != new["images"]:
        return f"other images: {len(old.get('images', ()))} there, {len(plan.images)} here"
    if old.get("severities") != new["severities"]:
        return "other perturbations or levels"
    return "a method's code or weights have changed since"


# --- writing --------------------------------------------------------------------------------------------------------


def check_writable(folder: Path) -> None:
    """Makes the run's folder and its parts' folder and writes into both once.

    Raises:
        ArsbenchError: that is not possible.
    """
    check_folder(folder)
    check_folder(folder / PARTS)


def check_folder(folder: Path) -> None:
    """Makes a folder and writes into it once.

    Raises:
        ArsbenchError: that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}.tmp"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ArsbenchError(
            f"the output folder {folder} cannot be written ({error.strerror or error}); give another --out"
        ) from error


@contextlib.contextmanager
def _atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at ``path`` whole, once its content is on the disk, or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _remove_leftovers(folder: Path) -> None:
    """What a killed process was writing."""
    for path in [*folder.glob(".*.tmp"), *(folder / PARTS).glob(".*.tmp")]:
        with contextlib.suppress(OSError):
            path.unlink()


def _lock(folder: Path) -> IO[bytes]:
    """Holds the folder for this process until closed or ended, however it ends."""
    file = (folder / LOCK).open("ab")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # no such locks on this system
        pass
    except BlockingIOError as error:
        file.close()
        raise ArsbenchError(f"another process is writing into {folder}; wait for it, or give another --out") from error
    except OSError:  # a file system without locks
        pass
    return file
