"""psnr: peak signal-to-noise ratio of the outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.contracts import Metric, Pair

EQUAL = 1e-8
"""Keeps equal images finite, at 80 dB."""


def on_unit_range(picture: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1]."""
    return (picture + 1) / 2


def peak_signal_to_noise(a: Tensor, b: Tensor) -> Tensor:
    """-10 log10(mse / 4 + 1e-8) in dB, float64 ``[B]``; ``a`` and ``b`` [B, 3, H, W] in [-1, 1]."""
    return _psnr(on_unit_range(a), on_unit_range(b))


def _psnr(a: Tensor, b: Tensor) -> Tensor:
    return (-10 * torch.log10((a - b).square().mean((1, 2, 3)) + EQUAL)).double()


class PeakSignalToNoise(Metric):
    """Peak signal-to-noise ratio of y_p against y, data range 2, in dB."""

    name = "psnr"
    definition = "-10 log10(mse / 4 + 1e-8)"
    higher_is_better = False
    range = (0.0, 80.0)

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]`` in dB, 80 for equal pictures."""
        return _psnr(pair.of("y", on_unit_range), pair.of("y_p", on_unit_range))
