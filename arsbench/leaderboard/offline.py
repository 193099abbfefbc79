"""Tier 0: what an entry's files say agrees with itself and with the protocol. Offline, in seconds.

Each check returns what was expected and what was found; equal means passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from arsbench.cards import file_sha256
from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import TOLERANCE, from_bytes
from arsbench.faces.lossless import Pixels
from arsbench.leaderboard.aggregates import aggregates_of, cells_of, seconds_of
from arsbench.leaderboard.entry import ENTRY, ROWS, Check, Entry, Method, read_verifications
from arsbench.leaderboard.files import Wanted, files_of, protected_by, read_rows
from arsbench.leaderboard.grid import EPSILON, SEED
from arsbench.protocol import protocol
from arsbench.running.prepare import Prepared
from arsbench.running.store import SCHEMA
from arsbench.scoring.amplification import AMPLIFICATION_THRESHOLD
from arsbench.scoring.sr import SR_THRESHOLD
from arsbench.scoring.unrecovered import UNRECOVERED_THRESHOLD

CLOSE = 1e-6
"""Two numbers that were computed from the same rows."""


class Found(NamedTuple):
    """What a check expected and what it got; both the same where it passed."""

    expected: str
    got: str


def check(name: str, look: Callable[[], Found]) -> Check:
    """Runs one check; an error is what it got."""
    try:
        found = look()
    except ArsbenchError as error:
        found = Found("a file that can be used", str(error))
    return Check(name=name, passed=found.expected == found.got, expected=found.expected[:500], got=found.got[:500])


def hashes(folder: Path, method: Method, rows_sha256: str, document: str = ENTRY) -> Found:
    """Every file is there, is listed, and is the one that was submitted."""
    files = files_of(folder, document)
    read_verifications(folder)
    listed = {**method.files, ROWS: rows_sha256}
    there = {name for name in files if name == ROWS or "/" in name}
    for name in sorted(there ^ set(listed)):
        said = "listed" if name in listed else "not listed"
        return Found(f"{name} listed and there", f"{name} {said}, {'there' if name in there else 'not there'}")
    for name, digest in listed.items():
        found = file_sha256(files[name])
        if found != digest:
            return Found(f"{name} {digest[:16]}", f"{name} {found[:16]}")
    kind = method.kind
    if kind == "pictures" and (
        method.class_ or not all(name.startswith("pictures/") for name in listed if name != ROWS)
    ):
        return Found("pictures alone", "a class or files of code")
    if kind == "code" and any(name.startswith("pictures/") for name in listed):
        return Found("code alone", "pictures")
    return Found(f"{len(listed)} files", f"{len(listed)} files")


def same_protocol(entry: Entry) -> Found:
    """The definitions, the budget and the seed are the board's."""
    wanted = f"protocol {protocol(entry.track).hash[:16]}, epsilon {EPSILON:g}, seed {SEED}"
    return Found(wanted, f"protocol {entry.protocol_hash[:16]}, epsilon {entry.epsilon:g}, seed {entry.seed}")


def weights(entry: Entry, prepared: Prepared) -> Found:
    """The manipulators and metrics are those that are here."""
    here = {k: v for k, v in prepared.header()["weights_sha256"].items() if not k.startswith("protector ")}
    theirs = {k: v for k, v in entry.weights_sha256.items() if not k.startswith("protector ")}
    for name in sorted(here.keys() | theirs.keys()):
        if here.get(name) != theirs.get(name):
            return Found(f"{name} {str(here.get(name))[:16]}", f"{name} {str(theirs.get(name))[:16]}")
    return Found(f"{len(here)} weights", f"{len(theirs)} weights")


def complete(rows: pd.DataFrame, entry: Entry, prepared: Prepared) -> Found:
    """One protector; every cell with every image, once; every epsilon the entry's."""
    plan = prepared.plan
    names = sorted(set(rows["protector"]))
    if len(names) != 1:
        return Found("rows of one protector", f"rows of {len(names)}")
    images = {image.key for image in plan.images}
    wanted = {(m, *severity.label) for m in plan.manipulators for severity in plan.severities}
    keys = ["manipulator", "perturbation", "level", "image"]
    twice = rows.duplicated(keys)
    if twice.any():
        first = rows[twice][keys].iloc[0]
        return Found("each image once in a cell", f"twice: {' / '.join(map(str, first))}")
    strange = set(rows["image"]) - images
    if strange:
        return Found("the first images of the test split", f"image {sorted(strange)[0]}")
    sizes = rows.groupby(keys[:3], as_index=False).size()
    counts = {(str(m), str(p), int(level)): int(n) for m, p, level, n in sizes.itertuples(index=False)}
    for cell in sorted(wanted | set(counts)):
        if counts.get(cell, 0) != (len(images) if cell in wanted else 0):
            have = f"{counts.get(cell, 0)} images in {' / '.join(map(str, cell))}"
            return Found(f"{len(images) if cell in wanted else 0} images in {' / '.join(map(str, cell))}", have)
    if (rows["trained_on"] != "").any():
        return Found("rows of a method made against the row's own manipulator", "rows of a transfer")
    if (rows["weights"] != "").any():
        return Found("rows of the manipulators' own weights", "rows of random weights")
    budgets = sorted({float(value) for value in rows["epsilon"].fillna(entry.epsilon)})
    if budgets != [entry.epsilon]:
        return Found(f"epsilon {entry.epsilon:g}", f"epsilon {', '.join(f'{b:g}' for b in budgets)}")
    return Found(f"{len(wanted)} cells", f"{len(wanted)} cells")


def consistent(rows: pd.DataFrame, entry: Entry) -> Found:
    """What a row says of itself: sr from mse, sr_strict from its three parts, psnr from mse, the budget kept."""
    mse = rows["mse"].to_numpy()
    if not (np.isfinite(mse).all() and (mse >= 0).all() and (mse <= 4 + CLOSE).all()):
        return Found("mse between 0 and 4", "a row beyond")
    near = np.abs(mse - SR_THRESHOLD) < CLOSE
    sr = (mse > SR_THRESHOLD).astype(float)
    ceiling = rows["amplification"].isna() & rows["protected_mse"].isna()
    strict = (
        sr
        * (rows["unrecovered"] > UNRECOVERED_THRESHOLD)
        * ((rows["amplification"] > AMPLIFICATION_THRESHOLD) | ceiling)
    )
    parts = (
        ("sr", sr, near),
        (
            "sr_strict",
            strict,
            near | _near(rows["unrecovered"], UNRECOVERED_THRESHOLD) | _near(rows["amplification"], 1),
        ),
        ("psnr", -10 * np.log10(mse / 4 + 1e-8), np.zeros(len(rows), dtype=bool)),
    )
    for name, wanted, open_ in parts:
        tolerance = 1e-3 if name == "psnr" else 0
        wrong = ~(np.abs(rows[name].to_numpy() - np.asarray(wanted)) <= tolerance) & ~np.asarray(open_)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            place = " / ".join(str(rows[c].iloc[i]) for c in ("manipulator", "perturbation", "level", "image"))
            return Found(f"{name} {np.asarray(wanted)[i]:g} by its own row, {place}", f"{rows[name].iloc[i]:g}")
    over = rows["protected_linf"].max()
    if over > entry.epsilon + TOLERANCE:
        return Found(f"changes of at most {entry.epsilon:g}", f"a change of {over:.4f}")
    return Found(f"{len(rows)} rows", f"{len(rows)} rows")


def _near(values: pd.Series[float], threshold: float) -> pd.Series[bool]:
    return (values - threshold).abs() < CLOSE


def pictures(folder: Path, entry: Entry, rows: pd.DataFrame, prepared: Prepared) -> Found:
    """Every picture keeps the budget, is the one that its rows are of, and stands there once."""
    plan, source = prepared.plan, prepared.source
    keys = [image.key for image in plan.images]
    faces = np.stack([source.pixels(i) for i in range(len(keys))])
    made = protected_by(folder, entry, Wanted(plan.manipulators, keys, faces))
    x = from_bytes(torch.from_numpy(faces))
    for name, pixels in made.items():
        change = (from_bytes(torch.from_numpy(pixels.copy())) - x).flatten(1)
        linf, mse = change.abs().amax(1).numpy(), change.square().mean(1).numpy()
        over = linf > entry.epsilon + TOLERANCE
        if over.any():
            i = int(np.flatnonzero(over)[0])
            return Found(f"changes of at most {entry.epsilon:g}", f"{linf[i]:.4f} in the picture of {keys[i]}")
        first = _first_of_two(pixels)
        if first is not None:
            return Found("different pictures", f"the same picture for {keys[first[0]]} and {keys[first[1]]}")
        said = rows[(rows["manipulator"] == name) & (rows["level"] == 0)].set_index("image")["protected_mse"]
        wrong = ~(np.abs(said.reindex(keys).to_numpy() - mse) <= 1e-5)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            return Found(
                f"protected_mse {said.get(keys[i], math.nan):.6f} of {keys[i]}", f"{mse[i]:.6f} in its picture"
            )
    return Found(f"{len(keys)} pictures", f"{len(keys)} pictures")


def _first_of_two(pixels: Pixels) -> tuple[int, int] | None:
    seen: dict[bytes, int] = {}
    for i, picture in enumerate(pixels):
        other = seen.setdefault(picture.tobytes(), i)
        if other != i:
            return other, i
    return None


def aggregates(rows: pd.DataFrame, entry: Entry) -> Found:
    """The aggregates, cells and seconds are those of the rows."""
    wanted = dict(_numbers(aggregates_of(rows)))
    wanted |= {f"cell {c.manipulator}/{c.perturbation}/{c.level} {k}": v for c in cells_of(rows) for k, v in _means(c)}
    wanted["seconds_per_image"] = seconds_of(rows)
    got = dict(_numbers(entry.aggregates))
    got |= {f"cell {c.manipulator}/{c.perturbation}/{c.level} {k}": v for c in entry.by_cell for k, v in _means(c)}
    got["seconds_per_image"] = entry.cost.seconds_per_image
    for name in sorted(wanted.keys() | got.keys()):
        a, b = wanted.get(name, "absent"), got.get(name, "absent")
        if a != b and not (isinstance(a, float) and isinstance(b, float) and abs(a - b) <= CLOSE * max(1.0, abs(a))):
            return Found(f"{name} {a}", f"{name} {b}")
    return Found(f"{len(wanted)} numbers", f"{len(got)} numbers")


def _numbers(found: Mapping[str, Mapping[str, list[float | None]]]) -> Iterator[tuple[str, float | None]]:
    for group, metrics in found.items():
        for metric, values in metrics.items():
            for end, value in zip(("mean", "low", "high"), values, strict=True):
                yield f"{group} {metric} {end}", value


def _means(cell: object) -> list[tuple[str, float | None]]:
    return [(name, value) for name, value in vars(cell).items() if name not in ("manipulator", "perturbation", "level")]


def read_checked_rows(folder: Path, count: int) -> pd.DataFrame:
    """The rows, of the schema and as many as there should be.

    Raises:
        ArsbenchError: they are not.
    """
    rows = read_rows(folder / ROWS, count)
    wanted = {field.name: str(field.type) for field in SCHEMA}
    found = {name: str(kind) for name, kind in rows.attrs.pop("schema", {}).items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ArsbenchError(f"the rows' column {name} is {found.get(name)} and not {wanted.get(name)}")
    return rows
