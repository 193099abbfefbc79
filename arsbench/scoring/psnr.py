"""psnr: peak signal-to-noise ratio of the outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.contracts import Metric, Pair
from arsbench.scoring.mse import mean_squared_error, output_error

EQUAL = 1e-8
"""Keeps equal images finite, at 80 dB."""


def peak_signal_to_noise(a: Tensor, b: Tensor) -> Tensor:
    """-10 log10(mse / 4 + 1e-8) in dB, float64 ``[B]``; ``a`` and ``b`` [B, 3, H, W] in [-1, 1]."""
    return _decibels(mean_squared_error(a, b))


def _decibels(mse: Tensor) -> Tensor:
    return -10 * torch.log10(mse / 4 + EQUAL)


class PeakSignalToNoise(Metric):
    """Peak signal-to-noise ratio of y_p against y, data range 2, in dB."""

    name = "psnr"
    definition = "-10 log10(mse / 4 + 1e-8)"
    higher_is_better = False
    range = (0.0, 80.0)

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]`` in dB, 80 for equal pictures."""
        return _decibels(pair.once(output_error))
