"""The canonical order of a run's rows: by protector, manipulator, perturbation, level, image, as planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from arsbench.labels import CELL, KEY, Label, label_of

if TYPE_CHECKING:
    import pandas as pd

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
            cell, image = self._positions(table.select(list(KEY)))
            known = (cell >= 0) & (image >= 0)
            done[cell[known], image[known]] = True
        return done

    def frame(self, table: pa.Table) -> pd.DataFrame:
        """The rows of the table in order, each once."""
        cell, image = self._positions(table)
        place = cell * len(self.images) + image
        known = np.flatnonzero((cell >= 0) & (image >= 0))
        _, first = np.unique(place[known], return_index=True)
        rows: pd.DataFrame = table.take(known[first]).to_pandas(deduplicate_objects=True)
        strings = [field.name for field in table.schema if pa.types.is_string(field.type)]
        return rows.astype(dict.fromkeys(strings, object))

    def _positions(self, keys: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Index of each row's cell and image; -1 where the plan has none."""
        planned: npt.NDArray[np.int64] = np.zeros(len(self.cells), np.int64)
        found: npt.NDArray[np.int64] = np.zeros(len(keys), np.int64)
        if not self.cells:
            return found - 1, found - 1
        for name, values in zip(CELL, zip(*self.cells, strict=True), strict=True):
            if name == "epsilon" and self._one_budget:
                continue
            known = list(dict.fromkeys(values))
            codes = {value: code for code, value in enumerate(known)}
            here = _indices(known, keys[name])
            planned = planned * len(known) + np.array([codes[value] for value in values], np.int64)
            found = np.where((found < 0) | (here < 0), -1, found * len(known) + here)
        order = np.argsort(planned, kind="stable")
        place = np.minimum(np.searchsorted(planned[order], found), len(planned) - 1)
        cells = np.where(planned[order][place] == found, order[place], -1)
        return cells, _indices(self.images, keys["image"])


def _indices(values: Sequence[Any], column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Where each entry of a column stands among ``values``; -1 where it does not. A missing number counts as 0."""
    encoded = column.dictionary_encode(null_encoding="encode").unify_dictionaries()
    place = {value: index for index, value in enumerate(values)}
    parts: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for chunk in encoded.chunks:
        there = [0.0 if value is None or value != value else value for value in chunk.dictionary.to_pylist()]
        codes = np.array([place.get(value, -1) for value in there], dtype=np.int64)
        # By its buffer: to_numpy() imports pandas, which takes longer than all of this.
        indices = np.frombuffer(chunk.indices.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk)]
        parts.append(codes[indices])
    return np.concatenate(parts)
