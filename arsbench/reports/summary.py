"""summary.csv: one line per cell, every metric with its interval."""

from __future__ import annotations

import pandas as pd

from arsbench.labels import CELL
from arsbench.scoring.statistics import averages, summarise, worst_case


def render(rows: pd.DataFrame, void: str | None = None) -> str:
    """The summary as CSV text; a NaN is an empty field. A void run's reason stands in a last column, ``void``."""
    # One protector at a time: of millions of rows no second copy is in memory.
    frame = pd.concat([_of_protector(own) for _, own in rows.groupby("protector")], ignore_index=True)
    if void:
        frame["void"] = void
    # Nine digits are more than the rows agree to between machines, and hide the last bits of a sum.
    return frame.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def _of_protector(rows: pd.DataFrame) -> pd.DataFrame:
    frame, worst = summarise(rows), worst_case(rows)
    if worst.empty:
        return frame
    # Over the perturbations of a level: the same number stands in each of their lines.
    by = [name for name in CELL if name != "perturbation"]
    least = averages(worst, by, ("sr_strict",)).drop(columns=["n", "cells"])
    return frame.merge(least.rename(columns=lambda name: name.replace("sr_strict", "sr_strict_worst")), "left", by)
