"""What the pages show of one protector: its numbers as they stand in the tables, and what is said beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from arsbench.reports.selection import in_order, perturbations, trained_on
from arsbench.reports.table import Value
from arsbench.scoring import statistics
from arsbench.scoring.controls import CONTROLS

WORST = "sr_strict_worst"
UNDER_ATTACK = "sr_strict_attacked"
WORST_KNOWN = f"{WORST}_known"
METRICS = (
    "sr_strict",
    WORST,
    UNDER_ATTACK,
    WORST_KNOWN,
    "sr",
    "sr_mask",
    "lpips",
    "psnr",
    "ssim",
    "mse",
    "amplification",
    "unrecovered",
    "protected_psnr",
    "seconds",
)
"""What the pages show, in this order."""
CURVES = ("sr_strict", "sr", "sr_mask", "lpips", "psnr")
"""What is drawn over the levels."""
SHOWN_CELL = ("manipulator", "perturbation", "level")
NOTHING = Value(math.nan)


@dataclass(frozen=True)
class Mark:
    """A short word beside a name, and the sentence that it stands for."""

    word: str
    meaning: str


@dataclass(frozen=True)
class Verified:
    """One verification: its tier by number, the date, what was checked, whether all of it held, and how it was done."""

    tier: int
    date: str
    checks: tuple[str, ...]
    passed: bool
    said: str = ""


@dataclass(frozen=True)
class Fact:
    """A line of what is known about an entry; ``link`` is an http or https address or empty."""

    label: str
    text: str
    link: str = ""


@dataclass(frozen=True)
class Standing:
    """One protector, or one control, on a board.

    Attributes:
        name: as it is shown; may be a stranger's text.
        page: the file of its own page, without suffix; letters, digits and ``. _ -`` alone.
        control: whether it is a control: shown as a line across the board, never ranked.
        rank: from 1; ``None`` for a control, or where nothing can be ranked.
        overall: metric -> mean (amplification: median) at the strongest level, with its interval.
        by_manipulator: manipulator -> the same against it alone.
        cells: ``manipulator, perturbation, level`` and the mean of each metric.
        bands: level -> sr_strict over all cells of that level, with its interval.
        kind: ``code``, ``pictures`` or ``control``.
        marks: what a reader must know before the number.
        facts: who, where, under which licence, at what cost.
        verified: every verification, latest first.
        withdrawn: whether its authors took it back.
        protector: of a run: its protector.
        trained_on: of a run: the manipulator that it was made against, where that is another than it meets.
    """

    name: str
    page: str
    control: bool
    rank: int | None
    overall: Mapping[str, Value]
    by_manipulator: Mapping[str, Mapping[str, Value]]
    cells: pd.DataFrame
    bands: Mapping[int, Value] = field(default_factory=dict)
    kind: str = "code"
    marks: tuple[Mark, ...] = ()
    facts: tuple[Fact, ...] = ()
    verified: tuple[Verified, ...] = ()
    withdrawn: bool = False
    protector: str = ""
    trained_on: str = ""

    def value(self, metric: str) -> Value:
        """The number at the strongest level; NaN where there is none."""
        return self.overall.get(metric, NOTHING)

    @property
    def level(self) -> int:
        """The strongest level."""
        return int(self.cells["level"].max())

    @cached_property
    def manipulators(self) -> list[str]:
        """By alphabet."""
        return sorted(set(self.cells["manipulator"]))

    @cached_property
    def perturbations(self) -> list[str]:
        """The protocol's order; none first."""
        return perturbations(self.cells)

    @property
    def tier(self) -> Verified | None:
        """The highest verification that was passed, of these the latest."""
        return max((v for v in self.verified if v.passed), key=lambda v: (v.tier, v.date), default=None)

    def curve(self, metric: str, manipulator: str | None = None) -> dict[int, float]:
        """Level -> the mean of the cells' means at that level, against one manipulator or all."""
        return self._curves.get((metric, manipulator), {})

    def cell(self, perturbation: str, manipulator: str, level: int, metric: str = "sr_strict") -> float:
        """The mean of one cell; NaN where there is none."""
        return self._means.get((perturbation, manipulator, level), {}).get(metric, math.nan)

    @cached_property
    def _curves(self) -> dict[tuple[str, str | None], dict[int, float]]:
        metrics = [name for name in self.cells if name not in SHOWN_CELL]
        found: dict[tuple[str, str | None], dict[int, float]] = {}
        groups: list[tuple[str | None, pd.DataFrame]] = [(None, self.cells)]
        groups += [(str(model), own) for model, own in self.cells.groupby("manipulator")]
        for model, own in groups:
            for metric, means in own.groupby("level")[metrics].mean().to_dict().items():
                found[str(metric), model] = {int(k): float(v) for k, v in means.items() if not math.isnan(v)}
        return found

    @cached_property
    def _means(self) -> dict[tuple[str, str, int], dict[str, float]]:
        return {
            (line["perturbation"], line["manipulator"], int(line["level"])): {str(k): v for k, v in line.items()}
            for line in self.cells.to_dict("records")
        }


def ordered(standings: Iterable[Standing]) -> list[Standing]:
    """By the number that ranks, best first; the controls take their place among the entries."""
    return sorted(standings, key=lambda s: (-_known(s.value("sr_strict").value), s.rank or 0, s.name))


def _known(value: float) -> float:
    return -1.0 if math.isnan(value) else value


# --- from the rows of a run -----------------------------------------------------------------------------------------


def from_rows(rows: pd.DataFrame, suffix: str = "") -> list[Standing]:
    """The protectors and controls of a run, ranked where they were all run on the same cells.

    A protector that was made against another manipulator than it meets stands on a line of its own.

    Args:
        rows: one row per image and cell, of one budget.
        suffix: of the pages' names.

    Raises:
        ArsbenchError: no rows, or an image stands twice in a cell.
    """
    made_against = trained_on(rows)
    made = sorted(set(zip(rows["protector"], made_against, strict=True)))
    called = {(name, other): f"{name} made against {other}" if other else name for name, other in made}
    rows = rows.assign(
        protector=[called[key] for key in zip(rows["protector"], made_against, strict=True)], trained_on=made_against
    )
    metrics = [metric for metric in METRICS if metric in rows]
    strongest = rows[rows["level"] == rows["level"].max()]
    overall = _values(strongest, ("protector",), metrics)
    each = _values(strongest, ("protector", "manipulator"), metrics)
    by_level = _values(rows, ("protector", "level"), ["sr_strict"])
    cells = statistics.averages(rows, ("protector", *SHOWN_CELL), metrics)
    ranked = ranks(strongest, in_order(rows["protector"]))
    order = [*in_order(rows["protector"]), *(name for name in CONTROLS if name in set(rows["protector"]))]
    keys = {name: key for key, name in called.items()}
    standings = []
    for name in order:
        own = cells[cells["protector"] == name]
        protector, other = keys[name]
        standings.append(
            Standing(
                name=name,
                page=f"{protector}{f'--{other}' if other else ''}{suffix}",
                control=name in CONTROLS,
                rank=ranked.get(name),
                overall=overall.get((name,), {}),
                by_manipulator={key[1]: values for key, values in each.items() if key[0] == name},
                cells=own[[*SHOWN_CELL, *metrics]].reset_index(drop=True),
                bands={int(key[1]): values["sr_strict"] for key, values in by_level.items() if key[0] == name},
                kind="control" if name in CONTROLS else "code",
                protector=protector,
                trained_on=other,
            )
        )
    return standings


def ranks(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, int]:
    """The ranks of :func:`arsbench.scoring.statistics.ranks`; empty where the protectors' cells differ."""
    cells = rows[rows["protector"].isin(names)].groupby("protector")[["manipulator", "perturbation"]]
    if len({frozenset(map(tuple, group.to_numpy())) for _, group in cells}) > 1:
        return {}
    return statistics.ranks(rows, protectors=names)


def per_image(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per image of one protector at the strongest level, worst first.

    Returns:
        ``image``, ``cells``, ``held`` (cells of sr_strict), and for every metric the mean over the cells
        (amplification: the median); :data:`WORST` is the share of manipulators against which every cell held.
    """
    strongest = rows[rows["level"] == rows["level"].max()]
    grouped = strongest.groupby("image", sort=True)
    lines = grouped.agg(cells=("sr_strict", "size"), held=("sr_strict", "sum"))
    for metric in METRICS:
        if metric in strongest:
            lines[metric] = grouped[metric].median() if statistics.is_median(metric) else grouped[metric].mean()
    by_model = strongest.groupby(["image", "manipulator"])["sr_strict"].min()
    lines[WORST] = by_model.groupby(level="image").mean()
    ordered: pd.DataFrame = lines.sort_values(["sr_strict", "mse"], kind="stable").reset_index()
    return ordered


_AS_WORST = {f"sr_strict{end}": f"{WORST}{end}" for end in ("", "_low", "_high")}


def _values(rows: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Value]]:
    """Group -> metric -> value; with sr_strict, the worst case per image beside it."""
    summaries = [statistics.averages(rows, by, metrics)]
    least = statistics.worst_case(rows) if "level" not in by and "sr_strict" in metrics else rows.iloc[:0]
    if len(least):
        summaries.append(statistics.averages(least, by, ["sr_strict"]).rename(columns=_AS_WORST))
    found: dict[tuple[Any, ...], dict[str, Value]] = {}
    for frame in summaries:
        shown = [metric for metric in dict.fromkeys((*metrics, WORST)) if metric in frame]
        for line in frame.to_dict("records"):
            own = found.setdefault(tuple(line[name] for name in by), {})
            for metric in shown:
                own[str(metric)] = Value(*(float(line[f"{metric}{end}"]) for end in ("", "_low", "_high")))
    return found
