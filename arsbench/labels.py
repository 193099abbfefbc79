"""What names a row: its cell and its image. Imported without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


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
TRAINED_ON = Column(
    "trained_on", "str", "the manipulator that the protector was made against; empty where it is the row's own"
)
CELL = ("protector", "manipulator", "perturbation", "level", "epsilon", "trained_on")
"""What names a cell."""
KEY = (*CELL, "image")
"""What names a row: no two rows of a run share these."""

Label = tuple[str, str, str, int, float, str]
"""A cell's names, in the order of :data:`CELL`; epsilon is 0 where the protector has no budget."""


def label_of(cell: Mapping[str, Any], epsilon: float | None = None) -> Label:
    """The label of a cell as a manifest holds it; ``epsilon`` is for manifests that did not name it."""
    budget = cell.get("epsilon", epsilon) or 0.0
    return (
        cell["protector"],
        cell["manipulator"],
        cell["perturbation"],
        cell["level"],
        float(budget),
        cell.get("trained_on", ""),
    )
