import weakref

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from arsbench.rows import COLUMNS
from arsbench.running.order import Order
from arsbench.running.parts import schema_of

SCHEMA = schema_of(COLUMNS)
CELLS = [(name, "m", "jpeg", level, 0.3, "") for name in ("b", "a") for level in (0, 5)]
IMAGES = ["2.png", "1.png", "3.png"]
PLACES = [(cell, image) for cell in CELLS for image in IMAGES]


def table(rows: list[tuple[int, float]]) -> pa.Table:
    """Rows by their place in the plan's order, each with a value."""
    columns = {field.name: [""] * len(rows) if field.type == "string" else [0.0] * len(rows) for field in SCHEMA}
    names = ("protector", "manipulator", "perturbation", "level", "epsilon", "trained_on")
    for at, name in enumerate(names):
        columns[name] = [PLACES[place][0][at] for place, _ in rows]
    columns["image"] = [PLACES[place][1] for place, _ in rows]
    columns["mse"] = [value for _, value in rows]
    return pa.table(columns, schema=SCHEMA)


@given(st.lists(st.lists(st.integers(0, len(PLACES) - 1), max_size=8), max_size=6))
def test_rows_stand_in_the_plans_order_each_as_it_was_stored_first(parts):
    values = iter(np.arange(1000.0))
    stored = [[(place, next(values)) for place in part] for part in parts]
    first = {}
    for part in stored:
        for place, value in part:
            first.setdefault(place, value)

    frame = Order(CELLS, IMAGES).frame(SCHEMA, [table(part) for part in stored])

    assert frame["mse"].tolist() == [first[place] for place in sorted(first)]
    assert frame["image"].tolist() == [PLACES[place][1] for place in sorted(first)]
    assert frame["protector"].tolist() == [PLACES[place][0][0] for place in sorted(first)]


def test_the_tables_are_not_all_in_memory_at_once():
    seen: list[weakref.ref] = []

    def tables():
        for place in range(len(PLACES)):
            made = table([(place, 1.0)])
            seen.append(weakref.ref(made))
            yield made
            del made
            assert sum(one() is not None for one in seen) <= 2

    assert len(Order(CELLS, IMAGES).frame(SCHEMA, tables())) == len(PLACES)


def test_a_plan_without_cells_has_the_columns():
    frame = Order([], IMAGES).frame(SCHEMA, [table([(0, 1.0)])])

    pd.testing.assert_index_equal(frame.columns, pd.Index([column.name for column in COLUMNS]))
    assert frame.empty
