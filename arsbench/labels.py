"""What names a row: its protector, manipulator, perturbation, level and image. Imported without torch."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One column of the rows.

    Attributes:
        name: as it stands in the parquet files and data frames.
        dtype: ``str``, ``int64`` or ``float64``.
        meaning: what the number is, with its unit.
        higher_is_better: for protection; ``None`` where neither is a goal.
    """

    name: str
    dtype: str
    meaning: str
    higher_is_better: bool | None = None


LABELS = (
    Column("protector", "str", "name of the protector"),
    Column("manipulator", "str", "name of the manipulator"),
    Column("perturbation", "str", "name of the perturbation; 'none' at level 0"),
    Column("level", "int64", "severity level: 0 without perturbation, 1 (weakest) to 5 (strongest)"),
    Column("image", "str", "key of the image"),
    Column("epsilon", "float64", "L_inf budget in [-1, 1] units"),
    Column("condition", "str", "the manipulator's condition c for this image; empty where it takes none"),
)
KEY = ("protector", "manipulator", "perturbation", "level", "image")
"""What names a row: no two rows of a run share these."""
