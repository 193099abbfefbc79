"""Table 5 of the paper."""

from __future__ import annotations

import pandas as pd

from arsbench import registry
from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import manipulators
from arsbench.reports.table import Block, Column, Table
from arsbench.reports.tables.pieces import INTERVALS, column, counted, lines, paper_row, setting

ABLATIONS = {
    "ars_basic": "Basic",
    "ars_basic_with_robust": "Basic w/ Robust",
    "ars_non_lossy": "non-lossy ARS",
    "ars_without_adv": "ARS w/o Adv",
    "ars_full": "ARS",
    "ars": "ARS",
}
"""The protectors of the table, in the paper's order, with the names it gives them; ``ars_full`` is trained for as many
steps as the parts, and ``ars`` stands for it where it is missing."""
METRICS = ("mse", "psnr", "sr", "sr_mask", "sr_strict")


def table5(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """Table 5 of the paper: what each part of ARS adds, per manipulator.

    The paper perturbs every picture once, at random; here is the mean over all perturbations and levels above 0 that
    were run, which is what that random choice has for its expectation.

    Raises:
        ArsbenchError: no rows above level 0, or of none of the protectors.
    """
    rows = rows[rows["level"] > 0]
    if rows.empty:
        raise ArsbenchError("table 5 is about perturbed pictures, and the rows have none above level 0")
    shown = set(ABLATIONS) - ({"ars"} if "ars_full" in set(rows["protector"]) else set())
    rows = rows[rows["protector"].isin(shown)]
    if rows.empty:
        raise ArsbenchError(f"table 5 compares {', '.join(ABLATIONS)}, and the rows have none of them")
    found = lines(rows, ("manipulator", "protector"), METRICS)
    blocks = tuple(
        Block(
            tuple(
                paper_row((model, name), found[model, name], METRICS, partial)
                for name in ABLATIONS
                if (model, name) in found
            )
        )
        for model in manipulators(rows)
    )
    columns = (
        Column("manipulator", grouped=True, essential=True),
        Column("protector", essential=True),
        *(column(metric, interval=True, essential=True) for metric in METRICS),
        *counted(partial),
    )
    levels = sorted({int(level) for level in rows["level"]})
    title = f"Parts of ARS, mean over all perturbations and levels {_span(levels)} ({setting(rows)})"
    return [Table(title, "table-5", columns, blocks, (*_missing(rows), INTERVALS, *notes), (), 1)]


def _span(levels: list[int]) -> str:
    whole = len(levels) > 2 and levels == list(range(levels[0], levels[-1] + 1))
    return f"{levels[0]} to {levels[-1]}" if whole else " and ".join(map(str, levels))


def _missing(rows: pd.DataFrame) -> tuple[str, ...]:
    """Which of the table's protectors the rows lack, and whether they can be run."""
    there = set(rows["protector"])
    absent = [name for name in ABLATIONS if name not in there and not (name == "ars" and "ars_full" in there)]
    known = set(registry.names("protector"))
    unknown = [name for name in absent if name not in known]
    said = []
    if set(absent) - set(unknown):
        said.append(f"Not run: {', '.join(name for name in absent if name in known)}.")
    if unknown:
        said.append(f"There is no protector of the name {' or '.join(unknown)} here.")
    return tuple(said)
