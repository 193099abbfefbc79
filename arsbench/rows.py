"""A result as one documented type: the columns of a row, one row per image and cell."""

from __future__ import annotations

from arsbench.scoring.columns import MEASURED, Column

LABELS = (
    Column("protector", "str", "name of the protector"),
    Column("manipulator", "str", "name of the manipulator"),
    Column("perturbation", "str", "name of the perturbation; 'none' at level 0"),
    Column("level", "int64", "severity level: 0 without perturbation, 1 (weakest) to 5 (strongest)"),
    Column("image", "str", "key of the image"),
    Column("epsilon", "float64", "L_inf budget in [-1, 1] units"),
    Column("condition", "str", "the manipulator's condition c for this image; empty where it takes none"),
)
COLUMNS = (
    *LABELS,
    *MEASURED,
    Column("weights", "str", "'random' where G ran with random weights, to measure speed; else empty"),
)
KEY = ("protector", "manipulator", "perturbation", "level", "image")
"""What names a row: no two rows of a run share these."""
