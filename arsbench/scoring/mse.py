"""mse: how far the outputs are from each other."""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.contracts import Metric, Pair


def mean_squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean over C, H, W of (a - b)^2, float64 ``[B]``."""
    return (a - b).square().flatten(1).mean(1, dtype=torch.float64)


def squared_error(pair: Pair) -> Tensor:
    """(y - y_p)^2 ``[B, 3, H, W]``."""
    return (pair.y - pair.y_p).square_()


def output_error(pair: Pair) -> Tensor:
    """mse of y_p against y, float64 ``[B]``."""
    return pair.once(squared_error).flatten(1).mean(1, dtype=torch.float64)


class MeanSquaredError(Metric):
    """Mean squared error of y_p against y."""

    name = "mse"
    definition = "mean over C, H, W of (y_p - y)^2 on [-1, 1]"
    higher_is_better = True
    range = (0.0, 4.0)

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]``."""
        return pair.once(output_error)
