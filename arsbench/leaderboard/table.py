"""The board as a table: on the terminal, as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from arsbench import registry
from arsbench.leaderboard.aggregates import LEVEL, WORST
from arsbench.leaderboard.ranks import COLUMNS, MARKS, Standing
from arsbench.reports import csv, latex, markdown
from arsbench.reports.standing import UNDER_ATTACK, WORST_KNOWN
from arsbench.reports.table import Block, Cell, Column, Row, Table, Value
from arsbench.scoring.columns import MEASURED

FORMATS = ("terminal", "markdown", "latex", "csv", "json")
_BETTER = {
    **{column.name: "higher" if column.higher_is_better else "lower" for column in MEASURED},
    **dict.fromkeys((WORST, UNDER_ATTACK, WORST_KNOWN), "higher"),
}
ATTACKED_NOTES = (
    f"{UNDER_ATTACK}: sr_strict under the known removal or the perturbation that leaves least of the entry; no rank "
    "depends on it.",
    f"{WORST_KNOWN}: the least over the perturbations and every known removal, per image.",
)


def table(standings: Sequence[Standing], metrics: Sequence[str] = COLUMNS) -> Table:
    """The board as data.

    Args:
        standings: the lines, in order.
        metrics: columns; sr_strict and its worst case always come first.

    Raises:
        ArsbenchError: an unknown metric.
    """
    for metric in metrics:
        if metric not in _BETTER:
            raise registry.unknown("column", metric, _BETTER)
    attacked = any(one.attack for one in standings)
    known = (UNDER_ATTACK, WORST_KNOWN)
    wanted = dict.fromkeys(("sr_strict", WORST, *known, *metrics))
    metrics = [metric for metric in wanted if attacked or metric not in known]
    columns = (
        Column("tier", essential=True),
        Column("entry", essential=True),
        *(Column(m, _BETTER[m], 3, interval=True, essential=m == "sr_strict") for m in metrics),
        *([Column("best known attack")] if attacked else []),
        Column("verified"),
        Column("marks", essential=True),
    )
    blocks = [
        Block(tuple(_row(one, metrics) for one in standings if one.control == control), "controls" if control else "")
        for control in (False, True)
    ]
    marks = sorted({letter for one in standings for letter in one.marks}, key=list(MARKS).index)
    notes = (
        f"Means over manipulators, perturbations and images at level {LEVEL}; ± is half the width of the 95 % "
        "bootstrap interval over images.",
        f"{WORST}: the least over the perturbations, per image. Amplification is a median.",
        "Entries that a paired bootstrap over the same images cannot tell apart, all pairs judged together at 99 %, "
        "share a tier.",
        *(ATTACKED_NOTES if attacked else ()),
        *(f"{letter}: {MARKS[letter]}." for letter in marks),
    )
    return Table("Leaderboard by sr_strict", "board", columns, tuple(b for b in blocks if b.rows), notes, (), 1)


def _row(one: Standing, metrics: Sequence[str]) -> Row:
    verified = f"tier {one.verified.tier}, {one.verified.date}" if one.verified else ""
    values: list[Cell] = [Value(*(math.nan if v is None else v for v in one.number(metric))) for metric in metrics]
    attack = [attacker(one)] if UNDER_ATTACK in metrics else []
    return Row((one.tier, one.entry.name, *values, *attack, verified, one.marks))


def attacker(one: Standing) -> str:
    """The best known attack on an entry and whose it is; empty where none is known."""
    return "" if one.attack is None else f"{one.attack.removal}, {' and '.join(one.attack.authors)}"


def document(standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """The board for scripts: numbers as numbers."""
    return [
        {
            "tier": one.tier,
            "name": one.entry.name,
            "control": one.control,
            "aggregates": one.entry.aggregates,
            "seconds_per_image": one.entry.cost.seconds_per_image,
            "images": one.entry.images,
            "trained_on": one.entry.trained_on,
            "flags": [flag.name for flag in one.entry.flags],
            "marks": {letter: MARKS[letter] for letter in one.marks},
            "verified": None
            if one.verified is None
            else {"tier": one.verified.tier, "date": one.verified.date.isoformat()},
            "best_known_attack": None if one.attack is None else asdict(one.attack),
            "withdrawn": None if one.entry.withdrawn is None else one.entry.withdrawn.reason,
        }
        for one in standings
    ]


def render(standings: Sequence[Standing], format: str, metrics: Sequence[str] = COLUMNS) -> str:
    """The board as text in one of :data:`FORMATS` but the terminal's.

    Raises:
        ArsbenchError: unknown format or metric.
    """
    if format not in FORMATS:
        raise registry.unknown("format", format, FORMATS)
    if format == "json":
        return json.dumps(document(standings), indent=1, allow_nan=False)
    made = table(standings, metrics)
    return csv.render([made]) if format == "csv" else {"markdown": markdown, "latex": latex}[format].render(made)
