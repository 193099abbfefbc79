"""The leaderboard."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import (
    TO_BEAT,
    budgets,
    controls,
    manipulators,
    methods,
    perturbations,
    strongest,
)
from arsbench.reports.table import Block, Cell, Column, Row, Table
from arsbench.reports.tables.pieces import INTERVALS, column, counted, lines, setting, value
from arsbench.scoring import statistics

_BOARD = ("mse", "psnr", "lpips", "ssim", "sr", "sr_mask", "amplification", "unrecovered", "protected_psnr", "seconds")
_ESSENTIAL = {"sr", "seconds"}


def leaderboard(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """The protectors ranked by sr_strict, the controls in a block of their own, unranked.

    Every number is the mean over manipulators, perturbations and images at level 5 (or the strongest level that was
    run; without perturbation if none was). ``sr_strict_worst`` is the mean over images of the least over
    perturbations.

    Raises:
        ArsbenchError: the rows mix budgets.
    """
    if len(budgets(rows)) > 1:
        raise ArsbenchError("a leaderboard is of one budget; give the rows of one")
    rows, level = strongest(rows)
    names, models = methods(rows), manipulators(rows)
    overall = lines(rows, ("protector",), ("sr_strict", *_BOARD))
    least = lines(statistics.worst_case(rows), ("protector",), ("sr_strict",)) if level else {}
    each = lines(rows, ("protector", "manipulator"), ("sr_strict",)) if len(models) > 1 else {}
    # An interrupted run has protectors whose cells differ; those cannot be ranked.
    ranked = statistics.ranks(rows, protectors=names) if _same_cells(rows, names) else {}
    names.sort(key=lambda name: (ranked.get(name, 0), -overall[(name,)]["sr_strict"]))
    columns = (
        Column("rank", essential=True),
        Column("protector", essential=True),
        column("sr_strict", interval=True, essential=True),
        *([column("sr_strict_worst", interval=True, essential=True)] if least else []),
        *(Column(f"sr_strict {model}", "higher") for model in models if each),
        *(column(metric, essential=metric in _ESSENTIAL) for metric in _BOARD),
        *counted(partial),
    )

    def row(name: str, compared: bool) -> Row:
        line = overall[(name,)]
        per_model = [each.get((name, model)) for model in models if each]
        cells: list[Cell] = [ranked.get(name), name, value(line, "sr_strict")]
        if least:
            cells.append(value(least[(name,)], "sr_strict") if (name,) in least else None)
        cells += [value(other, "sr_strict") if other else None for other in per_model]
        cells += [value(line, metric) for metric in _BOARD]
        return Row((*cells, *([int(line["n"])] if partial else [])), _remark(rows, name), compared)

    blocks = [Block(tuple(row(name, True) for name in names))] if names else []
    there = controls(rows)
    if there:
        blocks.append(Block(tuple(row(name, False) for name in there), "controls"))
    title = f"Protectors ranked by sr_strict ({setting(rows, level)})"
    told = (*_notes(rows, level, bool(ranked)), *notes)
    return [Table(title, "leaderboard", columns, tuple(blocks), told, (), 1)]


def _same_cells(rows: pd.DataFrame, names: Sequence[str]) -> bool:
    cells = rows[rows["protector"].isin(names)].groupby("protector")[["manipulator", "perturbation"]]
    return len({frozenset(map(tuple, group.to_numpy())) for _, group in cells}) <= 1


def _remark(rows: pd.DataFrame, name: str) -> str:
    """Which of the controls to beat a method does not beat by ``sr_strict``, beyond chance."""
    if name not in methods(rows):
        return ""
    rivals = [c for c in controls(rows, TO_BEAT) if _same_cells(rows, (name, c))]
    unbeaten = [rival for rival in rivals if not statistics.compare(rows, name, rival).low > 0]
    return f"does not beat {' and '.join(unbeaten)}" if unbeaten else ""


def _notes(rows: pd.DataFrame, level: int, ranked: bool) -> list[str]:
    over = [f"manipulator {', '.join(manipulators(rows))}"]
    if level:
        over.append(f"perturbation {', '.join(perturbations(rows))}")
    amplification = statistics.averages(rows, ("protector",), ("amplification",))["amplification_n"]
    counts = sorted({int(n) for n in amplification if n})
    told = f" (n = {' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))})" if counts else ""
    ranking = "Protectors that a paired bootstrap over the same images cannot tell apart share a rank."
    if not ranked:
        ranking = "Unranked: the protectors were not all run on the same cells."
    if not methods(rows):
        ranking = "No protector was run but the controls."
    worst = ["sr_strict_worst takes, for every image, the perturbation that leaves least."] if level else []
    return [
        f"Means over images, {' and '.join(over)}; {INTERVALS}",
        *worst,
        ranking,
        f"Amplification is the median{told}; protected PSNR is of the protected picture, the rest of the outputs.",
    ]
