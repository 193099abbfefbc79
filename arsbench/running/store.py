"""Where the rows of a run go: a folder with the manifest and the parts, or memory."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from arsbench.contracts import ArsbenchError
from arsbench.labels import CELL
from arsbench.rows import COLUMNS
from arsbench.running.locks import hold
from arsbench.running.manifest import (
    FORMAT,
    MANIFEST,
    Failure,
    difference,
    failures_of,
    holds_part_of,
    plan_document,
    read_manifest,
)
from arsbench.running.order import Done, Order
from arsbench.running.parts import PARTS, atomic, part_paths, read_keys, read_table, schema_of, write_table
from arsbench.running.plan import Plan

Columns = dict[str, list[Any]]
"""Rows, column by column."""

_LATER: dict[str, float | str] = {
    "identity_cosine": np.nan,
    "identity_distance": np.nan,
    "weights": "",
    "trained_on": "",
}
"""Columns that came after the first release, with what they hold in a run that is older."""
SCHEMA = schema_of(COLUMNS)
WORK = "work"
"""The folder in which the workers of a run tell each other what they are at."""


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
        return self._order.frame(SCHEMA, self._tables)


class RunFolder:
    """One run on disk, open for writing by one process, or by the workers of one run.

    Args:
        folder: made when it is not there.
        plan: what the run computes.
        header: what else the manifest says: the protocol, versions, device. ``None`` for one worker more on a run that
            was laid out for workers: the manifest stays as it is.

    Raises:
        ArsbenchError: the folder cannot be written, holds a run that is not a part of the plan, or another process
            writes into it; for a worker also: it was not laid out.
    """

    def __init__(self, folder: Path, plan: Plan, header: Mapping[str, Any] | None) -> None:
        self.folder = folder
        self.plan = plan
        self.work = folder / WORK
        self.notes: list[str] = []
        self._order = Order.of_plan(plan)
        self._counted: set[Path] = set()
        check_writable(folder)
        self._lock = hold(folder, shared=header is None)
        try:
            self.manifest = self._laid_out() if header is None else self._open_manifest(header)
            if header is not None:
                self._remove_leftovers()
        except BaseException:
            self.close()
            raise

    def _laid_out(self) -> dict[str, Any]:
        manifest = read_manifest(self.folder)
        if manifest["plan"]["key"] != self.plan.key:
            raise ArsbenchError(
                f"this worker would compute another run than {self.folder} holds: "
                f"{difference(manifest['plan'], self.plan)}"
            )
        if manifest.get("groups", {}).keys() != set(self.plan.manipulators):
            raise ArsbenchError(
                f"{self.folder} was not laid out for workers; do so with: "
                f"arsbench run --plan-only --like {self.folder / MANIFEST} --out {self.folder}"
            )
        self.work.mkdir(exist_ok=True)
        return manifest

    def share(self, **entries: Any) -> None:
        """Sets entries of the manifest and lets workers in."""
        self.update(**entries)
        self.work.mkdir(exist_ok=True)
        self._lock.share()

    def leave(self) -> None:
        """Removes what the workers told each other, where the last of them is here."""
        if self._lock.alone():
            self._remove_leftovers()

    def _open_manifest(self, header: Mapping[str, Any]) -> dict[str, Any]:
        old = read_manifest(self.folder) if (self.folder / MANIFEST).exists() else None
        if old is None and any((self.folder / PARTS).glob("*.parquet")):
            raise ArsbenchError(f"{self.folder} holds rows but no {MANIFEST}; give another --out folder")
        if old is not None and not holds_part_of(old["plan"], self.plan):
            raise ArsbenchError(
                f"{self.folder} holds another run: {difference(old['plan'], self.plan)}; give another --out folder"
            )
        starts = old["starts"] if old else []
        self.notes += _other_codec(old or {}, header)
        manifest = {"format": FORMAT, **header, "plan": plan_document(self.plan), "starts": starts, "failures": []}
        self._write(manifest)
        return manifest

    def update(self, **entries: Any) -> None:
        """Sets entries of the manifest and writes it."""
        self.manifest.update(entries)
        self._write(self.manifest)

    def _write(self, manifest: Mapping[str, Any]) -> None:
        text = json.dumps(manifest, indent=1, allow_nan=False)
        with atomic(self.folder / MANIFEST) as file:
            file.write(text.encode())

    def done(self) -> Done:
        """Bool ``[cells, images]``: which rows exist; a part that cannot be read is set aside and noted."""
        good = []
        for path in part_paths(self.folder):
            table = read_keys(path)
            if table is None:
                with contextlib.suppress(FileNotFoundError):  # another worker has done it
                    path.replace(path.with_suffix(".corrupt"))
                self.notes.append(
                    f"{path} cannot be read; it was set aside as {path.stem}.corrupt, its rows are computed again"
                )
            else:
                good.append(table)
        return self._order.done(good)

    def count(self) -> int:
        """The rows of the parts that came since the last call."""
        new = set(part_paths(self.folder)) - self._counted
        self._counted |= new
        with contextlib.suppress(OSError, pa.ArrowException):  # set aside meanwhile
            return sum(pq.read_metadata(path).num_rows for path in new)
        return 0

    def append(self, columns: Columns) -> None:
        """Writes these rows as one part, whole or not at all."""
        table = pa.table(columns, schema=SCHEMA)
        with atomic(self.folder / PARTS / f"{uuid.uuid4().hex}.parquet") as file:
            write_table(table, file)

    def rows(self) -> pd.DataFrame:
        """All rows in canonical order."""
        return self._order.frame(SCHEMA, _parts(self.folder))

    def _remove_leftovers(self) -> None:
        """What killed processes were writing, and what workers told each other."""
        for path in [*self.folder.glob(".*.tmp"), *(self.folder / PARTS).glob(".*.tmp")]:
            with contextlib.suppress(OSError):
                path.unlink()
        shutil.rmtree(self.work, ignore_errors=True)

    def close(self) -> None:
        """Lets another process write into the folder."""
        self._lock.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _other_codec(old: Mapping[str, Any], header: Mapping[str, Any]) -> list[str]:
    """What to say where a run goes on with another JPEG library than it began with."""
    before, now = (document.get("versions", {}).get("jpeg") for document in (old, header))
    if before is None or before == now:
        return []
    return [
        f"the run began with {before} and goes on with {now}: rows under jpeg, and those of JPEG pictures, may differ "
        "by it; for rows of one library run it again into another --out"
    ]


# --- reading --------------------------------------------------------------------------------------------------------


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
        if read_keys(path) is None:
            raise ArsbenchError(f"{path} cannot be read; start the run again, which computes its rows again")
    rows = Order.of_document(manifest["plan"]).frame(SCHEMA, _parts(folder))
    return rows if failed else without_failed(rows, failures_of(manifest))


def without_failed(rows: pd.DataFrame, failures: Sequence[Failure]) -> pd.DataFrame:
    """The rows of cells that no failure covers."""
    if not failures or rows.empty:
        return rows
    names = rows[list(CELL)].fillna({"epsilon": 0.0})
    labels = names.drop_duplicates().itertuples(index=False, name=None)
    bad = {label for label in labels if any(f.covers(label) for f in failures)}
    if not bad:
        return rows
    keep = ~pd.MultiIndex.from_frame(names).isin(bad)
    return rows[keep].reset_index(drop=True)


def _read_part(path: Path) -> pa.Table | None:
    table = read_table(path)
    table = None if table is None else _with_later_columns(table)
    return table if table is not None and table.schema.remove_metadata().equals(SCHEMA) else None


def _with_later_columns(table: pa.Table) -> pa.Table:
    """``table`` with the columns that there were not when it was written."""
    for at, field in enumerate(SCHEMA):
        if field.name in _LATER and field.name not in table.column_names:
            table = table.add_column(at, field, pa.array([_LATER[field.name]] * len(table), type=field.type))
    return table


def _parts(folder: Path) -> Iterator[pa.Table]:
    """The rows of each part that can be read."""
    return (table for path in part_paths(folder) if (table := _read_part(path)) is not None)


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
