"""The tables: which numbers stand where, a module each. Each is made from the rows alone, as data without a format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import at_budget, budgets, direct, has_methods, require_complete, trained_on
from arsbench.reports.table import Table
from arsbench.reports.tables.leaderboard import leaderboard
from arsbench.reports.tables.table1 import table1
from arsbench.reports.tables.table2 import table2
from arsbench.reports.tables.table3 import table3
from arsbench.reports.tables.table4 import table4
from arsbench.reports.tables.table5 import ABLATIONS, table5
from arsbench.reports.tables.table6 import table6

Builder = Callable[[pd.DataFrame, bool, tuple[str, ...]], list[Table]]
BUILDERS: dict[str, Builder] = {
    "leaderboard": leaderboard,
    "1": table1,
    "2": table2,
    "3": table3,
    "4": table4,
    "5": table5,
    "6": table6,
}
_ALL_BUDGETS = ("2", "4")
"""Tables that show all budgets; of the others there is one for each."""


def tables(kind: str, rows: pd.DataFrame, partial: bool = False, void: str | None = None) -> list[Table]:
    """The tables of one kind: one, or one per manipulator, and where the rows have several budgets, per budget.

    Raises:
        ArsbenchError: unknown kind, rows that do not suffice, or (unless ``partial``) missing cells or images.
    """
    if kind not in BUILDERS:
        raise ArsbenchError(f"there is no table '{kind}'; there are: {', '.join(BUILDERS)}")
    require_complete(rows, partial)
    notes: tuple[str, ...] = (f"VOID: {void}. These numbers are not valid.",) if void else ()
    if partial:
        notes += ("Partial: cells or images may be missing; n is the number of images in the smallest cell.",)
    if kind != "3":
        rows = _direct(kind, rows)
    there = budgets(rows)
    if kind in _ALL_BUDGETS or len(there) < 2:
        return BUILDERS[kind](rows, partial, notes)
    made = []
    for epsilon in there:
        own = at_budget(rows, epsilon)
        if kind == "3" and own[trained_on(own) != ""].empty:
            continue
        for table in BUILDERS[kind](own, partial, notes):
            index = (("epsilon", f"{epsilon:g}"), *table.index)
            made.append(replace(table, name=f"{table.name}-epsilon-{epsilon:g}", index=index))
    return made


def _direct(kind: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Without those of transfer, which table 3 is about."""
    own = direct(rows)
    if not has_methods(own) and has_methods(rows):
        what = "the leaderboard" if kind == "leaderboard" else f"table {kind}"
        raise ArsbenchError(
            f"{what} is about protectors made against the manipulator they meet, and these rows show only transfer; "
            "see table 3"
        )
    return own


def applies(kind: str, rows: pd.DataFrame) -> bool:
    """Whether the rows hold what the table is about, and more of it than another table shows.

    Table 1 needs level 0, Tables 2, 3, 5 and 6 a level above it; Table 2 several budgets, Table 3 transfer, Table 5 a
    part of ARS; all but Table 3 a protector that was made against the manipulator it meets.
    """
    own = direct(rows)
    if kind == "3":
        return bool((trained_on(rows) != "").any())
    if not has_methods(own) and has_methods(rows):
        return False
    levels = {int(level) for level in own["level"].unique()}
    perturbed = max(levels) > 0
    return {
        "1": 0 in levels,
        "2": perturbed and len(budgets(own)) > 1,
        "5": perturbed and len(set(own["protector"].unique()) & set(ABLATIONS)) > 1,
        "6": perturbed,
    }.get(kind, True)
