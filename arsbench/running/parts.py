"""The parts of a run: parquet files with whole rows.

A part is written beside its place, flushed to the disk and renamed, so that a process killed at any moment leaves
either the part or nothing that is ever read.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from arsbench.labels import KEY, LABELS, TRAINED_ON, Column

PARTS = "parts"
_ARROW = {"str": pa.string(), "int64": pa.int64(), "float64": pa.float64()}


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The parquet schema of columns."""
    return pa.schema([(column.name, _ARROW[column.dtype]) for column in columns])


def part_paths(folder: Path) -> list[Path]:
    """The parts of a run."""
    return sorted((folder / PARTS).glob("*.parquet"))


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table | None:
    """A part, or some columns of it; ``None`` where it cannot be read."""
    try:
        # Not pq.read_table, which imports pandas.
        with pq.ParquetFile(path) as file:
            table = file.read(columns=columns)
        table.validate(full=True)  # what is damaged inside its pages would fail later, in other words
        return table
    except (OSError, ValueError, pa.ArrowException):
        return None


def read_keys(path: Path) -> pa.Table | None:
    """What names the rows of a part; ``None`` where it cannot be read."""
    columns = {column.name: column for column in (*LABELS, TRAINED_ON)}
    wanted = schema_of([columns[name] for name in KEY])
    try:
        later = [name for name in (TRAINED_ON.name,) if name not in pq.read_schema(path).names]
    except (OSError, ValueError, pa.ArrowException):
        return None
    table = read_table(path, [name for name in KEY if name not in later])
    if table is None:
        return None
    for name in later:
        table = table.add_column(KEY.index(name), wanted.field(name), pa.array([""] * len(table), pa.string()))
    return table if table.schema.remove_metadata().equals(wanted) else None


def write_table(table: pa.Table, file: Path | IO[bytes]) -> None:
    """Writes rows as parquet: the bytes of numbers apart by their place, which takes a third less once compressed."""
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    others = [name for name in table.column_names if name not in numbers]
    pq.write_table(
        table, file, compression="zstd", compression_level=9, use_dictionary=others, use_byte_stream_split=numbers
    )


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
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
