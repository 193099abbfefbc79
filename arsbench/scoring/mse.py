"""mse: how far the outputs are from each other."""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.contracts import Metric, Pair


def mean_squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean over C, H, W of (a - b)^2, float64 ``[B]``."""
    return _mean(_over_channels(a - b), a.shape[1])


def difference(pair: Pair) -> Tensor:
    """y - y_p ``[B, 3, H, W]``."""
    return pair.y - pair.y_p


def pixel_error(pair: Pair) -> Tensor:
    """Sum over C of (y - y_p)^2, ``[B, H, W]``."""
    return _over_channels(pair.once(difference))


def output_error(pair: Pair) -> Tensor:
    """mse of y_p against y, float64 ``[B]``."""
    return _mean(pair.once(pixel_error), pair.y.shape[1])


def _over_channels(change: Tensor) -> Tensor:
    # torch.sum over a dimension that is not the last takes twice as long.
    first, *others = change.unbind(1)
    total = first.square()
    for channel in others:
        total.addcmul_(channel, channel)
    return total


def _mean(squares: Tensor, channels: int) -> Tensor:
    return squares.flatten(1).mean(1, dtype=torch.float64) / channels


class MeanSquaredError(Metric):
    """Mean squared error of y_p against y."""

    name = "mse"
    definition = "mean over C, H, W of (y_p - y)^2 on [-1, 1]"
    higher_is_better = True
    range = (0.0, 4.0)

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]``."""
        return pair.once(output_error)
