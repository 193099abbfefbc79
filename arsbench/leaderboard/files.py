"""The files of an entry, read as what they are: a stranger's."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from arsbench.errors import ArsbenchError
from arsbench.faces.lossless import Pixels, picture_name
from arsbench.folders import cache_home
from arsbench.leaderboard.entry import CODE, ENTRY, PICTURES, ROWS, VERIFICATION, Entry, Method
from arsbench.leaderboard.sandbox import GIB, Limits, run_apart
from arsbench.running.parts import write_table
from arsbench.running.store import SCHEMA

MOST_FILES = 20_000
MOST_BYTES = 2 * GIB
LARGEST_ROWS = GIB


def files_of(folder: Path, document: str = ENTRY) -> dict[str, Path]:
    """Every file of an entry, or of what else has ``document``, by its path in it.

    Raises:
        ArsbenchError: a link, something that is no plain file, a file that no entry has, or too much of it.
    """
    if not folder.is_dir():
        raise ArsbenchError(f"there is no folder {folder}; an entry is a folder that arsbench submit wrote")
    found: dict[str, Path] = {}
    size = 0
    waiting = [folder]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                raise ArsbenchError(f"{name} is a symbolic link; an entry holds plain files alone")
            if path.is_dir():
                waiting.append(path)
                continue
            if not path.is_file():
                raise ArsbenchError(f"{name} is no plain file; an entry holds plain files alone")
            if name not in (document, ROWS, VERIFICATION) and name.split("/")[0] not in (CODE, PICTURES):
                raise ArsbenchError(f"{name} is no file of an entry")
            found[name] = path
            size += path.stat().st_size
            if len(found) > MOST_FILES or size > MOST_BYTES:
                raise ArsbenchError(f"the entry is larger than {MOST_FILES} files and {MOST_BYTES / GIB:g} GiB")
    return found


def read_rows(path: Path, count: int) -> pd.DataFrame:
    """The rows of an entry, unpacked apart: within a limit of memory, and no more than there should be.

    Raises:
        ArsbenchError: not a parquet file, not ``count`` rows, or it unpacks to more than rows can be.
    """
    if path.stat().st_size > LARGEST_ROWS:
        raise ArsbenchError(f"{path.name} has {path.stat().st_size} bytes; rows take at most {LARGEST_ROWS}")
    request = {"readable": [str(path.resolve())], "who": path.name, "path": str(path.resolve()), "rows": count}
    limits = Limits(seconds=120, memory=3 * GIB)
    with (
        run_apart("rows", request, path.name, limits) as apart,
        pa.memory_map(str(apart.folder / "rows.arrow")) as source,
    ):
        table = pa.ipc.open_file(source).read_all()
        rows: pd.DataFrame = table.to_pandas()
        rows.attrs["schema"] = {field.name: field.type for field in table.schema}
        return rows


def picture_paths(folder: Path, manipulator: str, keys: Sequence[str]) -> list[Path]:
    """The pictures of an entry against one manipulator, whether or not they are there."""
    own = folder / PICTURES / manipulator
    place = own if own.is_dir() else folder / PICTURES
    return [(place / picture_name(key)).resolve() for key in keys]


@contextlib.contextmanager
def made_whole(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end: it is there whole, or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_rows(rows: pd.DataFrame, folder: Path) -> None:
    """Writes ``folder/rows.parquet``."""
    write_table(pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False), folder / ROWS)


@dataclass(frozen=True)
class Wanted:
    """Which protected pictures of an entry are wanted.

    Attributes:
        manipulators: against which.
        keys: of the images.
        faces: the images, uint8 ``[n, size, size, 3]``.
    """

    manipulators: Sequence[str]
    keys: Sequence[str]
    faces: Pixels


def protected_by(folder: Path, entry: Entry, wanted: Wanted, limits: Limits | None = None) -> dict[str, Pixels]:
    """The protected pictures by manipulator, uint8 ``[n, size, size, 3]``: read, or made by the method, apart.

    Raises:
        ArsbenchError: a picture cannot be read; the method fails, is stopped, or exceeds the budget.
    """
    size = wanted.faces.shape[1]
    if entry.method.kind == "pictures":
        paths = [[str(p) for p in picture_paths(folder, name, wanted.keys)] for name in wanted.manipulators]
        request = {"readable": [str((folder / PICTURES).resolve())], "who": "a picture", "size": size, "paths": paths}
        task, who = "pictures", "the pictures"
    else:
        who = f"the method {entry.method.class_}"
        request = {
            "readable": [str((folder / CODE).resolve()), str(cache_home())],
            "who": who,
            "keys": list(wanted.keys),
            "faces": wanted.faces.tobytes().hex(),
            "epsilon": entry.epsilon,
            "seed": entry.seed,
            "size": size,
            "track": entry.track,
            "manipulators": list(wanted.manipulators),
            "cache": str(cache_home().parent),
            "method": method_of(folder, entry.method),
        }
        task = "protect"
    n = len(wanted.keys)
    if limits is None:
        limits = Limits(seconds=120 + 30 * n * len(wanted.manipulators))
    with run_apart(task, request, who, limits) as apart:
        made = {}
        for number, name in enumerate(wanted.manipulators):
            made[name] = _read_array(apart.folder / f"{number}.npy", (n, size, size, 3), who)
        return made


def perturbed_by(perturbation: str, pictures: Pixels, keys: Sequence[str], track: str) -> Pixels:
    """What a perturbation's strongest level makes of pictures, uint8 ``[n, size, size, 3]``; its code runs apart.

    Raises:
        ArsbenchError: it fails or is stopped.
    """
    who, path = f"the removal {perturbation.rpartition(':')[2]}", perturbation.rpartition(":")[0]
    request = {
        "readable": [str(Path(path).resolve().parent)] if path else [],
        "who": who,
        "keys": list(keys),
        "faces": pictures.tobytes().hex(),
        "size": pictures.shape[1],
        "track": track,
        "method": f"{Path(path).resolve()}:{perturbation.rpartition(':')[2]}" if path else perturbation,
    }
    with run_apart("perturb", request, who, Limits(seconds=120 + len(keys))) as apart:
        return _read_array(apart.folder / "0.npy", pictures.shape, who)


def method_of(folder: Path, method: Method) -> str:
    """What the registry finds the method of an entry, or a removal, by.

    Raises:
        ArsbenchError: there is not exactly one file of Python that could hold it.
    """
    built_in = method.class_.partition("arsbench:")[2]
    if built_in:
        return built_in
    sources = [name for name in method.files if name.endswith(".py")]
    if len(sources) != 1:
        raise ArsbenchError(f"code/ holds {len(sources)} Python files; a method is one file")
    return f"{(folder / sources[0]).resolve()}:{method.class_}"


def _read_array(path: Path, shape: tuple[int, ...], who: str) -> Pixels:
    try:
        if path.is_symlink() or path.stat().st_size > np.prod(shape) + 10_000:
            raise ValueError
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ArsbenchError(f"{who} left no pictures") from error
    if array.shape != shape or array.dtype != np.uint8:
        raise ArsbenchError(f"{who} left pictures {list(array.shape)} {array.dtype} and not {list(shape)} uint8")
    return np.asarray(array, dtype=np.uint8)
