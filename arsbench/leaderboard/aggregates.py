"""What an entry says about its rows, from the rows alone: submit writes it, verify computes it again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from arsbench.leaderboard.entry import ALL, CellMeans
from arsbench.scoring import statistics
from arsbench.scoring.columns import MEASURED, SCORES

LEVEL = 5
"""The level that the board ranks at."""
WORST = "sr_strict_worst"
"""Per image and manipulator the least sr_strict over the perturbations: one that removes a protection is enough."""

Aggregates = dict[str, dict[str, list[float | None]]]


def at_level(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that count for the rank."""
    return rows[rows["level"] == LEVEL]


def worst_case(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows at one level -> one per protector, manipulator and image, with the least sr_strict over perturbations."""
    renamed: pd.DataFrame = statistics.worst_case(rows).rename(columns={"sr_strict": WORST})
    return renamed


def aggregates_of(rows: pd.DataFrame) -> Aggregates:
    """Manipulator, or ``all`` -> metric -> [mean, low, high] at level 5; a metric without any value is left out."""
    strongest = at_level(rows)
    names = [column.name for column in MEASURED]
    metrics = [name for name in names if name in strongest and strongest[name].notna().any()]
    found: Aggregates = {}
    for group in (ALL, *sorted(set(strongest["manipulator"]))):
        own = strongest if group == ALL else strongest[strongest["manipulator"] == group]
        found[group] = {**_lines(own, metrics), **_lines(worst_case(own), [WORST])}
    return found


def _lines(rows: pd.DataFrame, metrics: Sequence[str]) -> dict[str, list[float | None]]:
    line = statistics.averages(rows, ("protector",), metrics).iloc[0]
    return {name: [_number(line[f"{name}{end}"]) for end in ("", "_low", "_high")] for name in metrics}


def cells_of(rows: pd.DataFrame) -> list[CellMeans]:
    """The means of every cell, by manipulator, level and perturbation."""
    metrics = [column.name for column in SCORES]
    grouped = rows.groupby(["manipulator", "level", "perturbation"], sort=True)
    means = grouped[metrics].mean()
    for metric in metrics:
        if statistics.is_median(metric):
            means[metric] = grouped[metric].median()
    return [
        CellMeans(
            manipulator=str(manipulator),
            level=int(level),
            perturbation=str(perturbation),
            **{metric: _number(value) for metric, value in zip(metrics, values, strict=True)},
        )
        for (manipulator, level, perturbation), values in zip(means.index, means.to_numpy(), strict=True)
    ]


def seconds_of(rows: pd.DataFrame) -> float | None:
    """Mean seconds per image of protecting."""
    return _number(rows["seconds"].mean())


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
