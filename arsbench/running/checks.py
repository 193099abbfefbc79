"""Numbers that a user gives, refused where they cannot be used."""

from __future__ import annotations

import math
from collections.abc import Sequence

from arsbench.contracts import ArsbenchError


def check_number(name: str, value: object, least: int) -> None:
    """Raises ArsbenchError unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        wanted = f"a whole number of at least {least}" if least >= 0 else "a whole number"
        raise ArsbenchError(f"{name} is {value!r}; give {wanted}")


def check_epsilon(epsilon: float) -> None:
    """Raises ArsbenchError unless epsilon is a number in (0, 2]."""
    if not isinstance(epsilon, int | float) or not math.isfinite(epsilon) or not 0 < epsilon <= 2:
        raise ArsbenchError(f"epsilon is {epsilon}; give a number above 0 and at most 2, in [-1, 1] units such as 0.3")


def parse_epsilons(given: float | str | Sequence[float | str]) -> tuple[float, ...]:
    """One budget or several, as numbers, text or a comma list -> the different ones, ascending.

    Raises:
        ArsbenchError: there is none, or one is not in (0, 2].
    """
    items = given.split(",") if isinstance(given, str) else [given] if isinstance(given, int | float) else list(given)
    found = set()
    for item in items:
        try:
            epsilon = float(item) if isinstance(item, str) else item
        except ValueError:
            epsilon = item  # type: ignore[assignment]
        check_epsilon(epsilon)
        found.add(float(epsilon))
    if not found:
        raise ArsbenchError("no epsilon is given; give a budget such as 0.3, or several as 0.1,0.3,0.5")
    return tuple(sorted(found))
