"""The paper's numbers beside a run's, and which of the paper's findings hold there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.reports.findings import Finding, findings
from arsbench.reports.selection import perturbation_label, trained_on
from arsbench.reports.table import Block, Column, Row, Table, Value
from arsbench.reports.tables.pieces import BETTER, LABELS
from arsbench.running.speed import Speed
from arsbench.scoring import statistics

FULL = {"ars_full": "ars"}
"""What stands for a protector that was not run."""


@dataclass(frozen=True)
class PaperCell:
    """One number of the paper and ours.

    Attributes:
        table: of the paper.
        page: of the article.
        setting: manipulator, perturbation, level and budget in words.
        protector: its name here.
        metric: its name here.
        paper: the paper's number.
        derived: how it was come by, where it does not stand in the paper; else empty.
        ours: the run's; ``None`` where it was not run.
        low: lower end of the 95 % interval of ours.
        high: upper end.
        paper_rank: the protector's place in the paper, 1 for the best of the setting.
        our_rank: its place among ours; ``None`` where one of them was not run.
    """

    table: int
    page: int
    setting: str
    protector: str
    metric: str
    paper: float
    derived: str
    ours: float | None
    low: float | None
    high: float | None
    paper_rank: int
    our_rank: int | None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.ours is None else self.ours - self.paper


@dataclass(frozen=True)
class Comparison:
    """The cells, the findings, and what a reader must know of them."""

    cells: list[PaperCell]
    findings: list[Finding]
    notes: list[str]

    def document(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "cells": [{**asdict(cell), "difference": cell.difference} for cell in self.cells],
            "findings": [asdict(finding) for finding in self.findings],
            "notes": self.notes,
        }


def paper_values() -> dict[str, Any]:
    """The paper's numbers with their source and pages, as the data file has them."""
    document: dict[str, Any] = json.loads(files("arsbench.reports").joinpath("paper_values.json").read_text("utf-8"))
    return document


def compare(rows: pd.DataFrame, speeds: Sequence[Speed] = ()) -> Comparison:
    """Every number of the paper beside ours, and its findings.

    Args:
        rows: of one or more runs.
        speeds: what ``arsbench speed`` measured of them; without it, times are those in the rows.

    Raises:
        ArsbenchError: no rows, or rows of a model with random weights.
    """
    if rows.empty:
        raise ArsbenchError("there are no rows to compare with the paper")
    if "weights" in rows and (rows["weights"] == "random").any():
        raise ArsbenchError("these rows were made with random weights, to measure speed; they say nothing of the paper")
    document = paper_values()
    found = [_measured(value, rows, speeds) for value in document["values"]]
    cells = []
    for value, (ours, low, high) in zip(document["values"], found, strict=True):
        group = [i for i, other in enumerate(document["values"]) if _setting(other) == _setting(value)]
        place = next(i for i in group if document["values"][i] is value)
        paper = {i: float(document["values"][i]["value"]) for i in group}
        mine = {i: found[i][0] for i in group}
        whole = {i: float(number) for i, number in mine.items() if number is not None}
        cells.append(
            PaperCell(
                table=value["table"],
                page=value["page"],
                setting=_words(value),
                protector=value["protector"],
                metric=value["metric"],
                paper=float(value["value"]),
                derived=value.get("derived", ""),
                ours=ours,
                low=low,
                high=high,
                paper_rank=_rank(paper, place, value["metric"]),
                our_rank=_rank(whole, place, value["metric"]) if len(whole) == len(group) else None,
            )
        )
    return Comparison(cells, findings(rows, speeds), list(document["notes"]))


def _setting(value: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("table", "metric", "manipulator", "trained_on", "perturbation", "level", "epsilon")
    return tuple(value.get(name) for name in names)


def _words(value: Mapping[str, Any]) -> str:
    maker = value.get("trained_on")
    parts = [f"{maker} → {value['manipulator']}" if maker else value["manipulator"]]
    kind = value.get("perturbation")
    if kind and kind != "none":
        parts.append("mean" if kind == "mean" else perturbation_label(kind))
    if "level" in value:
        parts.append(f"level {value['level']}")
    if "epsilon" in value:
        parts.append(f"ε {value['epsilon']:g}")
    return ", ".join(parts)


def _rank(values: Mapping[int, float], place: int, metric: str) -> int:
    sign = 1 if BETTER[metric] == "higher" else -1
    return 1 + sum(sign * value > sign * values[place] for value in values.values())


def _measured(
    value: Mapping[str, Any], rows: pd.DataFrame, speeds: Sequence[Speed]
) -> tuple[float | None, float | None, float | None]:
    """Our number for one of the paper's, with its interval; ``None`` where it was not run."""
    if value["metric"] == "seconds":
        for speed in speeds:
            if (speed.protector, speed.manipulator, speed.device) == (value["protector"], value["manipulator"], "cpu"):
                return speed.seconds, speed.fastest, speed.slowest
    own = rows[(rows["protector"] == _protector(value, rows)) & (rows["manipulator"] == value["manipulator"])]
    own = own[trained_on(own) == value.get("trained_on", "")]
    if "epsilon" in value:
        own = own[own["epsilon"] == value["epsilon"]]
    level, kind = value.get("level"), value.get("perturbation")
    if level is not None:
        own = own[own["level"] > 0] if level == "1-5" else own[own["level"] == level]
    if kind not in (None, "mean"):
        own = own[own["perturbation"] == kind]
    if own.empty or (kind == "mean" and own["perturbation"].nunique() < 6) or own[value["metric"]].isna().all():
        return None, None, None
    if level == "1-5" and own["level"].nunique() < 5:
        return None, None, None
    line = statistics.averages(own, ("protector",), (value["metric"],)).iloc[0]
    return tuple(float(line[f"{value['metric']}{end}"]) for end in ("", "_low", "_high"))  # type: ignore[return-value]


def _protector(value: Mapping[str, Any], rows: pd.DataFrame) -> str:
    name = str(value["protector"])
    return FULL[name] if name in FULL and name not in set(rows["protector"]) else name


# --- as tables ------------------------------------------------------------------------------------------------------

_PLACES = {metric: place for place, metric in enumerate(LABELS)}
_COLUMNS = (
    Column("setting", grouped=True, essential=True),
    Column("metric", grouped=True, essential=True),
    Column("protector", essential=True),
    Column("paper", digits=3, essential=True),
    Column("ours", digits=3, interval=True, essential=True),
    Column("difference", digits=3, essential=True),
    Column("place", essential=True),
)


def cell_tables(comparison: Comparison) -> list[Table]:
    """One table for each of the paper's."""
    made = []
    for number in sorted({cell.table for cell in comparison.cells}):
        own = [cell for cell in comparison.cells if cell.table == number]
        blocks = [
            Block(tuple(map(_row, sorted((c for c in own if c.setting == setting), key=lambda c: _PLACES[c.metric]))))
            for setting in dict.fromkeys(cell.setting for cell in own)
        ]
        derived = dict.fromkeys(f"{cell.setting}: {cell.derived}." for cell in own if cell.derived)
        title = f"Table {number} of the paper (page {own[0].page}) beside ours"
        place = "Place: among the protectors of the setting, in the paper / here."
        made.append(
            Table(title, f"paper-{number}", _COLUMNS, tuple(blocks), (*derived, place), (("table", str(number)),), 2)
        )
    return made


def _row(cell: PaperCell) -> Row:
    ends = (math.nan if end is None else end for end in (cell.low, cell.high))
    ours = None if cell.ours is None else Value(cell.ours, *ends)
    place = f"{cell.paper_rank} / {'–' if cell.our_rank is None else cell.our_rank}"
    return Row((cell.setting, LABELS[cell.metric], cell.protector, cell.paper, ours, cell.difference, place))


def findings_table(comparison: Comparison) -> Table:
    """The findings with their verdicts, and the numbers that they rest on."""
    columns = (
        Column("finding", essential=True, prose=True),
        Column("verdict", essential=True),
        Column("numbers", essential=True, prose=True),
    )
    rows = tuple(
        Row((f.claim, f.verdict, "; ".join([*f.numbers, *([f.reason] if f.reason else [])])))
        for f in comparison.findings
    )
    half = len(rows) // 2
    blocks = (Block(rows[:half]), Block(rows[half:]))
    return Table("Findings of the paper", "paper-findings", columns, blocks, tuple(comparison.notes))
