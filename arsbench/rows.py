"""A result as one documented type: the columns of a row, one row per image and cell."""

from __future__ import annotations

from arsbench.labels import LABELS, TRAINED_ON, Column
from arsbench.scoring.columns import MEASURED

COLUMNS = (
    *LABELS,
    *MEASURED,
    Column("weights", "str", "'random' where G ran with random weights, to measure speed; else empty"),
    TRAINED_ON,
)
