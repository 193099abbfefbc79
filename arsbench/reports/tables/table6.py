"""Table 6 of the paper."""

from __future__ import annotations

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import (
    TO_BEAT,
    controls,
    manipulators,
    methods,
    perturbation_label,
    perturbations,
    strongest,
)
from arsbench.reports.table import Block, Column, Row, Table, Value
from arsbench.reports.tables.pieces import INTERVALS, column, counted, lines, paper_row, setting
from arsbench.scoring import statistics
from arsbench.scoring.controls import CONTROLS

METRICS = ("mse", "psnr", "sr", "sr_mask", "sr_strict")
SHARES = ("sr", "sr_mask", "sr_strict")
WORST_LABEL = "Worst case"


def table6(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """Table 6 of the paper: perturbation x protector at level 5 (or the strongest there is), one per manipulator.

    The last block is the worst case: for every image, the perturbation that leaves least.

    Raises:
        ArsbenchError: no rows above level 0.
    """
    rows, level = strongest(rows)
    if level == 0:
        raise ArsbenchError("table 6 is about perturbed pictures, and the rows have none above level 0")
    columns = (
        Column("perturbation", grouped=True, essential=True),
        Column("protector", essential=True),
        *(column(metric, interval=True, essential=True) for metric in METRICS),
        *counted(partial),
    )
    return [
        Table(
            f"Protection against {model} for each perturbation ({setting(rows, level)})",
            f"table-6-{model}",
            columns,
            _blocks(rows[rows["manipulator"] == model], partial),
            (f"{WORST_LABEL}: for every image, the perturbation that leaves least. {INTERVALS}", *notes),
            (("manipulator", model),),
            1,
        )
        for model in manipulators(rows)
    ]


def _blocks(rows: pd.DataFrame, partial: bool) -> tuple[Block, ...]:
    found = lines(rows, ("perturbation", "protector"), METRICS)
    worst = lines(statistics.worst_case(rows, SHARES), ("protector",), SHARES)
    shown = [*methods(rows), *controls(rows, TO_BEAT)]
    blocks = [
        Block(
            tuple(
                paper_row((perturbation_label(kind), name), found[kind, name], METRICS, partial)
                for name in shown
                if (kind, name) in found
            )
        )
        for kind in perturbations(rows)
    ]

    def worst_row(name: str) -> Row:
        line = worst[(name,)]
        numbers = (
            Value(*(float(line[f"{metric}{end}"]) for end in ("", "_low", "_high"))) if metric in SHARES else None
            for metric in METRICS
        )
        cells = (WORST_LABEL, name, *numbers, *([int(line["n"])] if partial else []))
        return Row(cells, compared=name not in CONTROLS)

    return (*blocks, Block(tuple(worst_row(name) for name in shown if (name,) in worst)))
