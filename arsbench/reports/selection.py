"""Which rows a report shows, in which order, and whether they suffice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.scoring.controls import CONTROLS

TO_BEAT = ("brighten", "shade")
"""The controls that an entry has to beat."""

METHODS = ("fgsm", "pgd", "disrupt", "tafim", "eot_pgd", "ars", "ars_tuned")
"""The known methods, in the order of the paper."""
_PERTURBATIONS = ("none", "saturation", "contrast", "dropout", "gaussian_blur", "downscale", "jpeg")
_PERTURBATION_LABELS = {"gaussian_blur": "Gaussian blur", "downscale": "Downscale", "jpeg": "JPEG", "none": "None"}


def _ordered(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """The known names in their own order, then the others by alphabet."""
    place = {name: i for i, name in enumerate(first)}
    return sorted(set(names), key=lambda name: (place.get(name, len(first)), name))


def methods(rows: pd.DataFrame) -> list[str]:
    """The protectors that are no controls: the paper's order, then by alphabet."""
    return in_order(rows["protector"])


def in_order(protectors: Iterable[str]) -> list[str]:
    """Those of the protectors that are no controls: the paper's order, then by alphabet."""
    return [name for name in _ordered(protectors, METHODS) if name not in CONTROLS]


def controls(rows: pd.DataFrame, wanted: Sequence[str] = CONTROLS) -> list[str]:
    """The controls among the rows, in the protocol's order."""
    there = set(rows["protector"])
    return [name for name in CONTROLS if name in there and name in wanted]


def manipulators(rows: pd.DataFrame) -> list[str]:
    """By alphabet."""
    return sorted(set(rows["manipulator"]))


def perturbations(rows: pd.DataFrame) -> list[str]:
    """The protocol's order, then by alphabet; ``none`` first."""
    return _ordered(rows["perturbation"], _PERTURBATIONS)


def perturbation_label(name: str) -> str:
    """As it stands in a table."""
    return _PERTURBATION_LABELS.get(name, name.replace("_", " ").capitalize())


def one_epsilon(rows: pd.DataFrame) -> float:
    """The budget of the rows, in [-1, 1] units.

    Raises:
        ArsbenchError: the rows mix budgets.
    """
    budgets = sorted(set(rows["epsilon"].dropna()))
    if len(budgets) > 1:
        listed = ", ".join(f"{e:g}" for e in budgets)
        raise ArsbenchError(
            f"the rows mix the budgets epsilon {listed}; a table or figure shows one, so give it one run"
        )
    return float(budgets[0]) if budgets else float("nan")


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
    # Manipulators may have image sets of their own.
    images = rows.groupby("manipulator")["image"].nunique().to_dict()
    cell = ["protector", "manipulator", "perturbation", "level"]
    counts = rows.groupby(cell, sort=True)["image"].nunique().to_dict()
    settings = sorted(set(zip(rows["perturbation"], rows["level"], strict=True)), key=lambda s: (s[1], s[0]))
    short: list[str] = []
    for protector, manipulator, (perturbation, level) in product(
        [*methods(rows), *controls(rows)], manipulators(rows), settings
    ):
        n = counts.get((protector, manipulator, perturbation, level), 0)
        wanted = images[manipulator]
        if n < wanted:
            short.append(f"{protector} / {manipulator} / {perturbation} / level {level} has {n} of {wanted} images")
    if short:
        more = f" and {len(short) - 1} more cells are short" if len(short) > 1 else ""
        raise ArsbenchError(f"{short[0]}{more}; finish the run, or show what there is with --partial")
