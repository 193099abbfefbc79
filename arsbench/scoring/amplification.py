"""amplification: whether it was the manipulator that was attacked."""

from __future__ import annotations

import math

from torch import Tensor

from arsbench.contracts import Metric, Pair
from arsbench.scoring.mse import mean_squared_error, output_error

AMPLIFICATION_THRESHOLD = 1.0


def amplification(pair: Pair) -> Tensor | None:
    """mse of the outputs over that of the inputs, float64 ``[B]``, NaN for 0/0; ``None`` without the inputs."""
    before = pair.x if pair.px is None else pair.px
    after = pair.x_p if pair.px_p is None else pair.px_p
    return None if before is None or after is None else pair.once(output_error) / mean_squared_error(before, after)


class Amplification(Metric):
    """mse of the outputs over mse of the inputs; above 1 the manipulator was attacked."""

    name = "amplification"
    definition = "mse(y, y_p) / mse(p(x), p(x_p)); NaN for 0/0"
    higher_is_better = True
    range = (0.0, math.inf)

    def measure(self, pair: Pair) -> Tensor | None:
        """float64 ``[B]``, NaN for 0/0; needs px and px_p, or x and x_p where those are missing."""
        return pair.once(amplification)
