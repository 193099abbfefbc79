"""The canonical order of a run's rows: by protector, manipulator, perturbation, level, image, as planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from arsbench.labels import CELL, KEY, Label, label_of

if TYPE_CHECKING:
    from arsbench.running.plan import Plan

Done = npt.NDArray[np.bool_]
"""``[cells, images]``: which rows exist."""


class Order:
    """The canonical order of a run's rows.

    Attributes:
        cells: label of each cell, in plan order.
        images: key of each image, in plan order.
    """

    def __init__(self, cells: Sequence[Label], images: Sequence[str], one_budget: bool = False) -> None:
        self.cells = list(cells)
        self.images = list(images)
        self._one_budget = one_budget

    @classmethod
    def of_plan(cls, plan: Plan) -> Order:
        """The order of a plan."""
        return cls([cell.label for cell in plan.cells], [image.key for image in plan.images])

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Order:
        """The order of a plan as the manifest holds it."""
        # An older manifest's cells do not say which of them have a budget: the rows' budgets are not looked at.
        return cls([label_of(cell) for cell in document["cells"]], list(document["images"]), "epsilons" not in document)

    def done(self, tables: Sequence[pa.Table]) -> Done:
        """Bool ``[cells, images]``: which rows the tables hold."""
        done = np.zeros((len(self.cells), len(self.images)), dtype=bool)
        for table in tables:
            cell, image = self._positions(table.select(list(KEY)).to_pandas())
            known = (cell >= 0) & (image >= 0)
            done[cell[known], image[known]] = True
        return done

    def frame(self, table: pa.Table) -> pd.DataFrame:
        """The rows of the table in order, each once."""
        rows: pd.DataFrame = table.to_pandas(deduplicate_objects=True)
        cell, image = self._positions(rows)
        place = cell * len(self.images) + image
        known = np.flatnonzero((cell >= 0) & (image >= 0))
        _, first = np.unique(place[known], return_index=True)
        rows = rows.take(known[first]).reset_index(drop=True)
        strings = [field.name for field in table.schema if pa.types.is_string(field.type)]
        return rows.astype(dict.fromkeys(strings, object))

    def _positions(self, keys: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Index of each row's cell and image; -1 where the plan has none."""
        names = [name for name in CELL if name != "epsilon" or not self._one_budget]
        labels = pd.DataFrame(self.cells, columns=list(CELL))
        cells = pd.MultiIndex.from_frame(labels[names])
        rows = pd.MultiIndex.from_frame(keys[list(CELL)].fillna({"epsilon": 0.0})[names])
        images = pd.Index(self.images, dtype=object)
        return (
            np.asarray(cells.get_indexer(rows), dtype=np.int64),
            np.asarray(images.get_indexer(pd.Index(keys["image"], dtype=object)), dtype=np.int64),
        )
