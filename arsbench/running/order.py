"""The canonical order of a run's rows: by protector, manipulator, perturbation, level, image, as planned."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

    def frame(self, schema: pa.Schema, tables: Iterable[pa.Table]) -> pd.DataFrame:
        """The rows of tables of one schema in order, each once; beside them one table at a time is in memory."""
        import pandas as pd

        there = np.zeros(len(self.cells) * len(self.images), dtype=bool)
        words: dict[str, dict[Any, int]] = {field.name: {} for field in schema if pa.types.is_string(field.type)}
        columns = {  # of strings, where they stand among the column's words
            field.name: np.empty(len(there), np.int32 if field.name in words else field.type.to_pandas_dtype())
            for field in schema
        }
        for table in tables:
            cell, image = self._positions(table)
            known = np.flatnonzero((cell >= 0) & (image >= 0))
            places, first = np.unique((cell * len(self.images) + image)[known], return_index=True)
            new = ~there[places]
            places, first = places[new], known[first[new]]
            there[places] = True
            for name, column in columns.items():
                values = _codes(words[name], table[name]) if name in words else table[name].to_numpy()
                column[places] = values[first]
        whole = bool(there.all())
        for name, column in columns.items():  # one by one, so that no second copy of all is in memory
            found = column if whole else column[there]
            columns[name] = np.array(list(words[name]), object)[found] if name in words else found
        return pd.DataFrame(columns, copy=False)

    def _positions(self, keys: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Index of each row's cell and image; -1 where the plan has none."""
        found: npt.NDArray[np.int64] = np.zeros(len(keys), np.int64)
        if not self.cells:
            return found - 1, found - 1
        codes, planned, order = self._places_of_cells
        for name, code in codes.items():
            here = _indices(code, keys[name])
            found = np.where((found < 0) | (here < 0), -1, found * len(code) + here)
        place = np.minimum(np.searchsorted(planned, found), len(planned) - 1)
        cells = np.where(planned[place] == found, order[place], -1)
        return cells, _indices(self._places_of_images, keys["image"])

    @functools.cached_property
    def _places_of_images(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.images)}

    @functools.cached_property
    def _places_of_cells(self) -> tuple[dict[str, dict[Any, int]], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """A code for every value of a label, the cells' labels as one number each, ascending, and whose they are."""
        codes: dict[str, dict[Any, int]] = {}
        planned: npt.NDArray[np.int64] = np.zeros(len(self.cells), np.int64)
        for name, values in zip(CELL, zip(*self.cells, strict=True), strict=True):
            if name == "epsilon" and self._one_budget:
                continue
            code = codes[name] = {value: place for place, value in enumerate(dict.fromkeys(values))}
            planned = planned * len(code) + np.array([code[value] for value in values], np.int64)
        order = np.argsort(planned, kind="stable")
        return codes, planned[order], order


def _indices(places: Mapping[Any, int], column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The place of each entry of a column; -1 where it has none. A missing number counts as 0."""
    parts: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for held, indices in _encoded(column):
        there = [0.0 if value is None or value != value else value for value in held]
        parts.append(np.array([places.get(value, -1) for value in there], dtype=np.int64)[indices])
    return np.concatenate(parts)


def _codes(words: dict[Any, int], column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Where each entry of a column stands among ``words``, to which those that are new are added."""
    parts: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
    for held, indices in _encoded(column):
        parts.append(np.array([words.setdefault(word, len(words)) for word in held], dtype=np.int32)[indices])
    return np.concatenate(parts)


def _encoded(column: pa.ChunkedArray) -> Iterator[tuple[list[Any], npt.NDArray[np.int32]]]:
    """The different entries of each chunk, and where each entry stands among them."""
    for chunk in column.dictionary_encode(null_encoding="encode").unify_dictionaries().chunks:
        # By its buffer: to_numpy() imports pandas, which takes longer than all of this.
        indices = np.frombuffer(chunk.indices.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk)]
        yield chunk.dictionary.to_pylist(), indices
