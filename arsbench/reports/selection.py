"""Which rows a report shows, in which order, and whether they suffice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.labels import KEY
from arsbench.scoring.controls import CONTROLS

TO_BEAT = ("brighten", "shade")
"""The controls that an entry has to beat."""

METHODS = ("fgsm", "pgd", "disrupt", "tafim", "eot_pgd", "ars", "ars_tuned", "ars_white")
"""The known methods, in the order of the paper."""
_PERTURBATIONS = ("none", "saturation", "contrast", "dropout", "gaussian_blur", "downscale", "jpeg")
_PERTURBATION_LABELS = {"gaussian_blur": "Gaussian blur", "downscale": "Downscale", "jpeg": "JPEG", "none": "None"}


def _ordered(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """The known names in their own order, then the others by alphabet."""
    place = {name: i for i, name in enumerate(first)}
    return sorted(set(names), key=lambda name: (place.get(name, len(first)), name))


def methods(rows: pd.DataFrame) -> list[str]:
    """The protectors that are no controls: the paper's order, then by alphabet."""
    return in_order(rows["protector"].unique())


def in_order(protectors: Iterable[str]) -> list[str]:
    """Those of the protectors that are no controls: the paper's order, then by alphabet."""
    return [name for name in _ordered(protectors, METHODS) if name not in CONTROLS]


def controls(rows: pd.DataFrame, wanted: Sequence[str] = CONTROLS) -> list[str]:
    """The controls among the rows, in the protocol's order."""
    there = set(rows["protector"].unique())
    return [name for name in CONTROLS if name in there and name in wanted]


def manipulators(rows: pd.DataFrame) -> list[str]:
    """By alphabet."""
    return sorted(rows["manipulator"].unique())


def perturbations(rows: pd.DataFrame) -> list[str]:
    """The protocol's order, then by alphabet; ``none`` first."""
    return _ordered(rows["perturbation"].unique(), _PERTURBATIONS)


def perturbation_label(name: str) -> str:
    """As it stands in a table."""
    return _PERTURBATION_LABELS.get(name, name.replace("_", " ").capitalize())


def budgets(rows: pd.DataFrame) -> list[float]:
    """The budgets of the rows, in [-1, 1] units, ascending."""
    return sorted(float(epsilon) for epsilon in rows["epsilon"].dropna().unique())


def at_budget(rows: pd.DataFrame, epsilon: float) -> pd.DataFrame:
    """The rows of one budget, and those that have none: the ceiling is the same at every budget."""
    return _where(rows, (rows["epsilon"] == epsilon) | rows["epsilon"].isna())


def choose_budgets(rows: pd.DataFrame, wanted: Sequence[float] | None) -> pd.DataFrame:
    """The rows of the wanted budgets; all where none is named.

    Raises:
        ArsbenchError: one of them is not among the rows.
    """
    if not wanted:
        return rows
    there = budgets(rows)
    for epsilon in wanted:
        if epsilon not in there:
            raise ArsbenchError(f"epsilon {epsilon:g} was not run; there are: {', '.join(f'{e:g}' for e in there)}")
    return rows[rows["epsilon"].isin(list(wanted)) | rows["epsilon"].isna()]


def _where(rows: pd.DataFrame, wanted: pd.Series[bool]) -> pd.DataFrame:
    """The rows that are wanted; no copy where all are, of which there may be millions."""
    return rows if wanted.all() else rows[wanted]


def trained_on(rows: pd.DataFrame) -> pd.Series[str]:
    """For every row, the manipulator that the protector was made against; empty where it is the row's own."""
    return rows["trained_on"] if "trained_on" in rows else pd.Series("", index=rows.index)


def direct(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of protectors that were made against the manipulator they are evaluated on; no transfer."""
    return _where(rows, trained_on(rows) == "")


def has_methods(rows: pd.DataFrame) -> bool:
    """Whether there is anything but controls."""
    return bool(set(rows["protector"].unique()) - set(CONTROLS))


def strongest(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows at the highest level there is, and that level; 0 where nothing was perturbed."""
    level = int(rows["level"].max())
    return rows[rows["level"] == level], level


def require_complete(rows: pd.DataFrame, partial: bool) -> None:
    """Every protector must have every cell that any of them has, each with every image.

    Raises:
        ArsbenchError: no rows, rows of a model with random weights, or a cell or an image is missing and ``partial``
            is False; the first is named.
    """
    if rows.empty:
        raise ArsbenchError("there are no rows to show; the run has not finished a cell")
    if "weights" in rows and (rows["weights"] == "random").any():
        raise ArsbenchError("these rows were made with random weights, to measure speed; no table or figure takes them")
    if partial:
        return
    named = rows[[name for name in KEY if name in rows]]  # no second copy of millions of measured values
    short = [*_short_of_direct(direct(named)), *_short_of_transfer(named[trained_on(named) != ""])]
    if short:
        more = f" and {len(short) - 1} more cells are short" if len(short) > 1 else ""
        raise ArsbenchError(f"{short[0]}{more}; finish the run, or show what there is with --partial")


def _short_of_direct(rows: pd.DataFrame) -> list[str]:
    """The cells that lack images, in words; at each budget every protector must have what any of them has."""
    short = []
    for epsilon in [*budgets(rows), None]:
        own = rows[rows["epsilon"].isna()] if epsilon is None else rows[rows["epsilon"] == epsilon]
        attacked = manipulators(own[own["protector"].isin(methods(own))])
        pairs = [*product(methods(own), attacked), *product(controls(own), manipulators(own))]
        short += _short(own, [(protector, model, "") for protector, model in pairs], len(budgets(rows)) > 1)
    return short


def _short_of_transfer(rows: pd.DataFrame) -> list[str]:
    """Likewise for every pair of what was protected against and what was evaluated on."""
    short = []
    for epsilon in budgets(rows):
        own = rows[rows["epsilon"] == epsilon]
        ways = sorted(set(zip(own["manipulator"], trained_on(own), strict=True)))
        short += _short(own, [(protector, *way) for protector in methods(own) for way in ways], len(budgets(rows)) > 1)
    return short


def _short(rows: pd.DataFrame, wanted: Sequence[tuple[str, str, str]], name_budget: bool) -> list[str]:
    # Manipulators may have image sets of their own.
    images = rows.groupby("manipulator")["image"].nunique().to_dict()
    names = ["protector", "manipulator", "trained_on", "perturbation", "level"]
    counts = rows.assign(trained_on=trained_on(rows)).groupby(names, sort=True).size().to_dict()
    settings = rows[["level", "perturbation"]].drop_duplicates().itertuples(index=False, name=None)
    short: list[str] = []
    for (protector, manipulator, maker), (level, perturbation) in product(wanted, sorted(settings)):
        n = counts.get((protector, manipulator, maker, perturbation, level), 0)
        if n < images[manipulator]:
            where = f"{maker} to {manipulator}" if maker else manipulator
            budget = f" / epsilon {rows['epsilon'].iloc[0]:g}" if name_budget else ""
            cell = f"{protector} / {where} / {perturbation} / level {level}{budget}"
            short.append(f"{cell} has {n} of {images[manipulator]} images")
    return short
