"""An entry of the leaderboard as one typed, versioned schema: ``ENTRY/entry.json`` and the files beside it.

    ENTRY/entry.json          this schema; also as JSON Schema in ``entry.schema.json``
    ENTRY/rows.parquet        one row per image and cell, the columns of :mod:`arsbench.rows`
    ENTRY/code/               the method's file, of an entry with code
    ENTRY/pictures/           the protected pictures, PNG, of an entry without: one per image, or a folder of them
                              per manipulator where they differ
    ENTRY/verification.json   what was verified, and when

Numbers are numbers; ``null`` stands where there is none.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from arsbench.errors import ArsbenchError

FORMAT = 1
ENTRY, ROWS, VERIFICATION, CODE, PICTURES = "entry.json", "rows.parquet", "verification.json", "code", "pictures"
LARGEST_JSON = 8_000_000
"""Bytes of a JSON file of an entry; one of a thousand cells has a tenth of that."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""Of the schemas of entries and removals."""
ALL = "all"
"""The key of the aggregates over all manipulators."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=64)]
Text = Annotated[str, Field(max_length=2000)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RelativePath = Annotated[str, Field(pattern=r"^(code|pictures)(/[A-Za-z0-9_+@=-][A-Za-z0-9_.+@=-]*)+$", max_length=300)]
Interval = Annotated[list[float | None], Field(min_length=3, max_length=3)]
"""A mean (a median for amplification) and the ends of its 95 % bootstrap interval over images."""

Read = TypeVar("Read")


class Strict(BaseModel):
    """No unknown keys, no numbers as strings, no NaN."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        populate_by_name=True,
        serialize_by_alias=True,
    )


class Flag(Strict):
    """A finding of ``arsbench check``, see docs/flags.md."""

    name: Name
    """Which finding, for example ``gradient-masking``."""
    level: Literal["error", "warning"]
    """An error keeps a method off the board; a warning is shown beside it."""
    what: Text
    """What was found, with the number."""


class Method(Strict):
    """What makes the protected pictures."""

    kind: Literal["code", "pictures"]
    """``code``: the method can be run again. ``pictures``: made elsewhere, only the pictures are here."""
    class_: Annotated[str, Field(alias="class", pattern=r"^([A-Za-z_][A-Za-z0-9_]*|arsbench:[A-Za-z0-9_.+-]+)?$")]
    """The class in the entry's one file of code, ``arsbench:NAME`` for a method of the package, empty for pictures."""
    files: dict[RelativePath, Sha256]
    """The SHA-256 of every file of ``code/`` or ``pictures/``, by its path in the entry."""


class CellMeans(Strict):
    """One cell: the means over its images; the median of amplification."""

    manipulator: Name
    perturbation: Name
    """``none`` at level 0."""
    level: Annotated[int, Field(ge=0, le=5)]
    mse: float | None
    psnr: float | None
    lpips: float | None
    ssim: float | None
    sr: float | None
    sr_mask: float | None
    amplification: float | None
    unrecovered: float | None
    sr_strict: float | None


class Cost(Strict):
    """What protecting takes."""

    seconds_per_image: float | None
    """Mean over images and manipulators; ``null`` where the pictures were made elsewhere."""
    hardware: Text
    """The machine that this was measured on."""


class Withdrawn(Strict):
    """Why an entry no longer counts; it stays on the board, marked."""

    date: datetime.date
    reason: Text


class Authored(Strict):
    """What somebody submits: whose it is."""

    format: Literal[1]
    """Of this schema."""
    name: Name
    """As it stands on the board, and as its folder is called."""
    authors: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=100)]
    paper: Text
    """A title or an address; empty if there is none."""
    code: Text
    """Where its code is public; empty if nowhere."""
    licence: Text
    """Of what is in this folder."""


class Entry(Authored):
    """One method on the leaderboard: who, what, and how well."""

    method: Method
    trained_on: list[Name]
    """The board's perturbations that the method saw when it was made; empty if none."""
    track: Literal["open", "paper"]
    epsilon: Annotated[float, Field(gt=0, le=2)]
    """L_inf budget in [-1, 1] units."""
    seed: int
    """Of the method's draws; the board takes 0."""
    images: Annotated[int, Field(ge=1, le=100_000)]
    """How many: the first so many of the track's test split."""
    protocol_hash: Sha256
    versions: dict[str, str | None]
    """Of Python and the packages that the numbers were made with."""
    revision: str | None
    """The git revision of arsbench, where it ran from a checkout; ``+`` is appended where files differed."""
    rows_sha256: Sha256
    """Of ``rows.parquet``."""
    weights_sha256: dict[str, Sha256]
    """Of every weights file that took part, by what it is of."""
    aggregates: dict[Name, dict[str, Interval]]
    """Manipulator, or ``all`` -> metric -> [mean, low, high] at level 5 over perturbations and images."""
    by_cell: list[CellMeans]
    """Every cell of the grid."""
    cost: Cost
    flags: list[Flag]
    """Findings of ``arsbench check``."""
    submitted: datetime.date
    withdrawn: Withdrawn | None


class Check(Strict):
    """One thing that was looked at."""

    name: str
    """For example ``aggregates``."""
    passed: bool
    expected: str
    got: str


class Verification(Strict):
    """One verification of an entry."""

    tier: Literal[0, 1, 2]
    """0: the files agree with each other. 1: some cells, drawn at the time, were computed again. 2: every cell was."""
    date: datetime.date
    seed: int | None
    """That the replayed cells were drawn by; ``null`` where none were drawn."""
    cells: list[str]
    """The cells that were computed again, ``manipulator/perturbation/level``."""
    checks: list[Check]
    passed: bool
    version: str
    """Of arsbench."""


_VERIFICATIONS = TypeAdapter(list[Verification])
_ENTRY = TypeAdapter(Entry)


# --- reading and writing --------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON Schema of ``entry.json``."""
    return {"$schema": DIALECT, **Entry.model_json_schema(mode="serialization")}


def read_entry(folder: Path) -> Entry:
    """Reads ``folder/entry.json``.

    Raises:
        ArsbenchError: it is missing, too large, or not of the schema; the sentence names the place.
    """
    return read_json(folder / ENTRY, _ENTRY)


def read_verifications(folder: Path) -> list[Verification]:
    """What was verified of an entry so far, oldest first; empty where nothing was.

    Raises:
        ArsbenchError: the file is not of the schema.
    """
    path = folder / VERIFICATION
    return read_json(path, _VERIFICATIONS) if path.exists() else []


def write_entry(folder: Path, entry: Entry) -> None:
    """Writes ``folder/entry.json``."""
    (folder / ENTRY).write_bytes(_ENTRY.dump_json(entry, indent=1) + b"\n")


def write_verifications(folder: Path, verifications: list[Verification]) -> None:
    """Writes ``folder/verification.json``."""
    (folder / VERIFICATION).write_bytes(_VERIFICATIONS.dump_json(verifications, indent=1) + b"\n")


def withdraw(folder: Path, reason: str) -> None:
    """Marks an entry as withdrawn.

    Raises:
        ArsbenchError: it cannot be read, or is withdrawn already.
    """
    entry = read_entry(folder)
    if entry.withdrawn is not None:
        raise ArsbenchError(f"{folder} was withdrawn on {entry.withdrawn.date} already")
    today = datetime.datetime.now(datetime.timezone.utc).date()
    write_entry(folder, entry.model_copy(update={"withdrawn": Withdrawn(date=today, reason=reason)}))


def read_json(path: Path, model: TypeAdapter[Read]) -> Read:
    """Reads a document of a stranger's.

    Raises:
        ArsbenchError: it is missing, too large, or not of the schema; the sentence names the place.
    """
    try:
        if path.is_symlink() or not path.is_file():
            raise ArsbenchError(f"{path} is not there as a plain file; an entry is a folder that arsbench submit wrote")
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise ArsbenchError(f"{path} has {size} bytes; an entry's JSON has at most {LARGEST_JSON}")
        return model.validate_json(path.read_bytes())
    except OSError as error:
        raise ArsbenchError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:60] for part in first["loc"]) or "the whole"
        raise ArsbenchError(f"{path} is not of the schema: {place}: {first['msg'][:200]}") from error
