"""Numbers that a user gives, refused where they cannot be used."""

from __future__ import annotations

import math

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
