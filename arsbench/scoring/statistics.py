"""Means with bootstrap intervals over images, paired comparison, and ranks that know a tie.

The input everywhere is the frame of rows (``arsbench.rows``), in any order: images are sorted by key first, and the
resampling is seeded from the keys, so a number depends on the rows alone.

Intervals are percentile intervals of the bootstrap over images. Every cell over the same images is resampled with the
same draws: averages over cells and comparisons of protectors are therefore joint and paired. A median
(``amplification``) needs no draws at all: the bootstrap distribution of a median is a binomial one (Efron 1979).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.draws import draw
from arsbench.labels import CELL
from arsbench.scoring.columns import MEASURED

CONFIDENCE = 0.95
RESAMPLES = 1000

Array = npt.NDArray[np.float64]
_TAIL = (1 - CONFIDENCE) / 2
_LOWER_IS_BETTER = {c.name for c in MEASURED if c.higher_is_better is False}


def is_median(metric: str) -> bool:
    """Whether a metric is summarised by its median, with NaN left out, instead of its mean."""
    return metric.startswith("amplification")


def metrics_in(rows: pd.DataFrame) -> list[str]:
    """The metrics among the columns of ``rows``, in the order of the schema."""
    return [c.name for c in MEASURED if c.name in rows.columns]


# --- the rows as one array ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cube:
    """Rows as ``values`` [cells, images, metrics], NaN where there is none; ``present`` [cells, images]."""

    cells: pd.DataFrame
    images: npt.NDArray[np.object_]
    metrics: list[str]
    values: Array
    present: npt.NDArray[np.bool_]


def _cube(rows: pd.DataFrame, metrics: Sequence[str]) -> _Cube:
    rows = rows if "trained_on" in rows.columns else rows.assign(trained_on="")
    missing = [name for name in (*CELL, "image", *metrics) if name not in rows.columns]
    if missing:
        raise ArsbenchError(f"the rows have no column '{missing[0]}'; they do not come from this version of arsbench")
    if rows.empty:
        raise ArsbenchError("there are no rows to summarise")
    grouped = rows.groupby(list(CELL), dropna=False, sort=True)
    cells = grouped.size().index.to_frame(index=False)
    cell = grouped.ngroup().to_numpy()
    images, image = np.unique(rows["image"].to_numpy(dtype=object), return_inverse=True)
    flat = cell * len(images) + image
    twice = np.flatnonzero(np.bincount(flat) > 1)
    if len(twice):
        name = _cell_name(cells.iloc[twice[0] // len(images)])
        raise ArsbenchError(
            f"image '{images[twice[0] % len(images)]}' stands twice in the cell {name}; give each run once"
        )
    values = np.full((len(cells) * len(images), len(metrics)), np.nan)
    values[flat] = rows[list(metrics)].to_numpy(dtype=np.float64)
    present = np.zeros(len(cells) * len(images), dtype=bool)
    present[flat] = True
    shape = (len(cells), len(images))
    return _Cube(cells, images, list(metrics), values.reshape(*shape, -1), present.reshape(shape))


def _cell_name(cell: pd.Series[Any]) -> str:
    return f"{cell['protector']} / {cell['manipulator']} / {cell['perturbation']} / level {cell['level']}"


# --- the bootstrap --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _counts(n: int, seed: int) -> Array:
    """How often each of ``n`` images is drawn in each resample, ``[RESAMPLES, n]``."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)


def _resample(images: Sequence[str]) -> Array:
    """The draws that belong to these images (sorted keys), ``[RESAMPLES, n]``."""
    return _counts(len(images), draw("\0".join(images), "bootstrap"))


def _interval(means: Array) -> Array:
    """Percentile interval along the first axis, ``[2, ...]``; NaN only where every resample is."""
    tails = [_TAIL, 1 - _TAIL]
    if not np.isnan(means).any():
        return np.asarray(np.quantile(means, tails, axis=0))
    bounds = np.full((2, *means.shape[1:]), np.nan)
    some = ~np.isnan(means).all(axis=0)
    bounds[:, some] = np.nanquantile(means[:, some], tails, axis=0)
    return bounds


def _mean_of_cells(values: Array, weights: Array) -> tuple[Array, Array]:
    """``values`` [cells, images, metrics] -> the mean of the cells' means [metrics] and its interval [2, metrics].

    NaN values are left out of their cell; a cell without any value makes the mean NaN.
    """
    cells, n, metrics = values.shape
    valid = ~np.isnan(values)
    columns = np.where(valid, values, 0.0).transpose(1, 0, 2).reshape(n, -1)
    sums = columns.sum(axis=0)
    drawn = weights @ columns
    with np.errstate(invalid="ignore", divide="ignore"):
        if valid.all():
            means, resampled = sums / n, drawn / n
        else:
            shown = valid.transpose(1, 0, 2).reshape(n, -1).astype(np.float64)
            means, resampled = sums / shown.sum(axis=0), drawn / (weights @ shown)
    value = means.reshape(cells, metrics).mean(axis=0)
    # One image says nothing about how images differ.
    if n < 2:
        return value, np.full((2, metrics), np.nan)
    return value, _interval(resampled.reshape(RESAMPLES, cells, metrics).mean(axis=1))


@lru_cache(maxsize=256)
def _median_rank(n: int) -> int:
    """The rank, from 1, of the order statistic of ``n`` values that is the lower end of the median's interval.

    The median of a resample is at most the k-th smallest value when at least half the draws are among the k smallest,
    which is binomial with k / n.
    """
    half = np.arange((n + 1) // 2, n + 1)
    log_choose = np.array([math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in half])

    def reached(k: int) -> bool:
        p = k / n
        return bool(np.exp(log_choose + half * math.log(p) + (n - half) * math.log1p(-p)).sum() >= _TAIL)

    ranks = range(1, n)
    first = bisect_left(ranks, True, key=reached)  # it grows with k
    return min(ranks[first], (n + 1) // 2) if first < len(ranks) else 1


def median(values: Array) -> tuple[int, float, float, float]:
    """``values`` of any shape -> how many are not NaN, their median, and the ends of its interval."""
    known = np.sort(values[~np.isnan(values)])
    n = len(known)
    if n == 0:
        return 0, math.nan, math.nan, math.nan
    middle = float(known[n // 2]) if n % 2 else float(known[n // 2 - 1 : n // 2 + 1].mean())
    if n < 2:
        return n, middle, math.nan, math.nan
    rank = _median_rank(n)
    return n, middle, float(known[rank - 1]), float(known[n - rank])


# --- summaries ------------------------------------------------------------------------------------------------------


def averages(rows: pd.DataFrame, by: Sequence[str], metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """One line per group of cells: the mean of the cells' means, the images resampled jointly.

    Args:
        rows: one row per image and cell.
        by: columns of :data:`CELL` that name a group.
        metrics: which metrics; all that are there if ``None``.

    Returns:
        The columns ``by``, ``n`` (images in the smallest cell), ``cells``, and for every metric its value and the ends
        of its 95 % interval: ``mse, mse_low, mse_high``. Metrics summarised by a median also have ``..._n``, the number
        of values that are not NaN; over several cells theirs is the median of all the cells' values.

    Raises:
        ArsbenchError: no rows, a column is missing, or an image stands twice in a cell.
    """
    cube = _cube(rows, metrics_in(rows) if metrics is None else metrics)
    means = [i for i, metric in enumerate(cube.metrics) if not is_median(metric)]
    medians = [i for i, metric in enumerate(cube.metrics) if is_median(metric)]
    lines: list[dict[Hashable, Any]] = []
    for group, index in cube.cells.groupby(list(by), dropna=False, sort=True).indices.items():
        present = cube.present[index]
        seen = present.any(axis=0)
        block = cube.values[index][:, seen]
        line: dict[Hashable, Any] = dict(zip(by, group if isinstance(group, tuple) else (group,), strict=True))
        line |= {"n": int(present.sum(axis=1).min()), "cells": len(index)}
        value, bounds = _mean_of_cells(block[:, :, means], _resample(cube.images[seen].tolist()))
        for j, i in enumerate(means):
            name = cube.metrics[i]
            line |= {name: value[j], f"{name}_low": bounds[0, j], f"{name}_high": bounds[1, j]}
        for i in medians:
            name = cube.metrics[i]
            n, middle, low, high = median(block[:, :, i])
            line |= {name: middle, f"{name}_low": low, f"{name}_high": high, f"{name}_n": n}
        lines.append(line)
    return pd.DataFrame(lines)[[*by, "n", "cells", *_summary_columns(cube.metrics)]]


def _summary_columns(metrics: Sequence[str]) -> list[str]:
    """The columns of a summary, metric by metric."""
    names: list[str] = []
    for metric in metrics:
        names += [metric, f"{metric}_low", f"{metric}_high", *([f"{metric}_n"] if is_median(metric) else [])]
    return names


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per cell: its names, ``n``, and for every metric the mean and its 95 % interval over images.

    Sorted by the cell's names. Columns as in :func:`averages`, without ``cells``.

    Raises:
        ArsbenchError: as :func:`averages`.
    """
    return averages(rows, CELL).drop(columns="cells")


# --- the worst case -------------------------------------------------------------------------------------------------

WORST = "worst"
"""Stands for the perturbation in rows of :func:`worst_case`."""


def worst_case(rows: pd.DataFrame, metrics: Sequence[str] = ("sr_strict",)) -> pd.DataFrame:
    """The least of each metric over the perturbations of a level, for every image.

    Args:
        rows: one row per image and cell.
        metrics: of which more is better.

    Returns:
        One row per protector, manipulator, level above 0, epsilon, ``trained_on`` and image, with perturbation
        ``worst``, to be averaged like any other. An image that lacks a perturbation that others have is left out.
    """
    rows = rows if "trained_on" in rows.columns else rows.assign(trained_on="")
    rows = rows[rows["level"] > 0]
    cell = [name for name in CELL if name != "perturbation"]
    grouped = rows.groupby([*cell, "image"], dropna=False, sort=True)
    worst = grouped[list(metrics)].min()
    worst["met"] = grouped["perturbation"].nunique()
    worst = worst.reset_index()
    every = worst.groupby(cell, dropna=False)["met"].transform("max")
    return worst[worst["met"] == every].drop(columns="met").assign(perturbation=WORST).reset_index(drop=True)


# --- comparison -----------------------------------------------------------------------------------------------------


class Comparison(NamedTuple):
    """How much protector a exceeds b, over the same images.

    Attributes:
        n: images that both have, in the smallest cell.
        difference: mean of a minus mean of b.
        low: lower end of the 95 % interval of the difference; NaN for fewer than two images.
        high: upper end.
    """

    n: int
    difference: float
    low: float
    high: float

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def _aligned(rows: pd.DataFrame, protectors: Sequence[str], metric: str) -> tuple[Array, list[str]]:
    """Each protector's values over the same cells, ``[protectors, cells, images]``, and the images' keys."""
    cube = _cube(rows[rows["protector"].isin(protectors)], [metric])
    owner = cube.cells["protector"].to_numpy()
    settings = [list(zip(*(cube.cells.loc[owner == p, c] for c in CELL[1:4]), strict=True)) for p in protectors]
    for protector, cells in zip(protectors, settings, strict=True):
        if not cells:
            raise ArsbenchError(f"there are no rows of protector '{protector}'")
        if len(set(cells)) < len(cells):
            raise ArsbenchError(f"the rows of protector '{protector}' mix budgets or training; give those of one")
        if cells != settings[0]:
            raise ArsbenchError(f"'{protectors[0]}' and '{protector}' cannot be compared: their cells differ")
    return np.stack([cube.values[owner == p, :, 0] for p in protectors]), cube.images.tolist()


def _compare(a: Array, b: Array, images: Sequence[str]) -> Comparison:
    """``a``, ``b`` [cells, images]; in each cell the images that both have."""
    difference = a - b
    known = ~np.isnan(difference)
    n = int(known.sum(axis=1).min())
    seen = known.any(axis=0)
    if n == 0:
        return Comparison(0, math.nan, math.nan, math.nan)
    weights = _resample([images[i] for i in np.flatnonzero(seen)])
    value, bounds = _mean_of_cells(difference[:, seen, None], weights)
    return Comparison(n, float(value[0]), float(bounds[0, 0]), float(bounds[1, 0]))


def compare(rows: pd.DataFrame, a: str, b: str, metric: str = "sr_strict") -> Comparison:
    """Paired bootstrap comparison of two protectors over the cells in ``rows``, in each the images that both have.

    Raises:
        ArsbenchError: a protector has no rows, or the two were not run on the same cells.
    """
    values, images = _aligned(rows, (a, b), metric)
    return _compare(values[0], values[1], images)


def ranks(rows: pd.DataFrame, metric: str = "sr_strict", protectors: Sequence[str] | None = None) -> dict[str, int]:
    """Rank of each protector over the cells in ``rows``: one more than the number of those shown to be better.

    Two that a paired bootstrap cannot tell apart do not count against each other, so the tied share a rank. (Being tied
    is not transitive: where a and b are tied, b and c are tied, but a is better than c, the ranks are 1, 1, 2.)

    Raises:
        ArsbenchError: as :func:`compare`.
    """
    names = sorted(set(rows["protector"])) if protectors is None else list(protectors)
    if not names:
        return {}
    values, images = _aligned(rows, names, metric)
    sign = -1.0 if metric in _LOWER_IS_BETTER else 1.0
    return {
        name: 1 + sum(_compare(sign * other, sign * own, images).low > 0 for other in values)
        for name, own in zip(names, values, strict=True)
    }
