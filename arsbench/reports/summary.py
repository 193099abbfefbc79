"""summary.csv: one line per cell, every metric with its interval."""

from __future__ import annotations

import pandas as pd

from arsbench.scoring.statistics import summarise


def render(rows: pd.DataFrame, void: str | None = None) -> str:
    """The summary as CSV text; a NaN is an empty field. A void run's reason stands in a last column, ``void``."""
    frame = summarise(rows)
    if void:
        frame["void"] = void
    # Nine digits are more than the rows agree to between machines, and hide the last bits of a sum.
    return frame.to_csv(index=False, float_format="%.9g", lineterminator="\n")
