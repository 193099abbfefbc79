"""Blur with a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from kornia.filters import get_gaussian_kernel1d
from torch import Tensor

from arsbench.contracts import Levels, Perturbation


class GaussianBlur(Perturbation):
    """Gaussian blur; the parameter is sigma in pixels, the radius ceil(3 sigma), the border reflected.

    On the paper track the blurs of DeeperForensics-1.0, whose kernels of 7 to 21 pixels have sigma = size / 6.
    """

    name = "gaussian_blur"
    levels: ClassVar[dict[str, Levels]] = {
        "open": (0.5, 0.75, 1.0, 1.5, 2.0),
        "paper": (1.17, 1.5, 2.17, 2.83, 3.5),
    }
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1], of any size -> the same range; differentiable."""
        return blurred(x, 2 * math.ceil(3 * parameter) + 1, parameter)


def blurred(x: Tensor, size: int, sigma: float) -> Tensor:
    """``x`` [B, 3, H, W] through a Gaussian kernel of ``size`` pixels, the border reflected; of any size."""
    kernel = get_gaussian_kernel1d(size, sigma, dtype=torch.float64)[0].tolist()
    return _filtered(_filtered(x, kernel, -2), kernel, -1)


def _filtered(x: Tensor, kernel: list[float], dim: int) -> Tensor:
    """Correlation along one dimension, tap by tap.

    A convolution takes another algorithm, and rounds differently, for another batch size; this does not.
    """
    size, radius = x.shape[dim], len(kernel) // 2
    padded = x.index_select(dim, _mirrored(size, radius, x.device))
    out = kernel[0] * padded.narrow(dim, 0, size)
    for tap, weight in enumerate(kernel[1:], start=1):
        out += weight * padded.narrow(dim, tap, size)
    return out


def _mirrored(size: int, radius: int, device: torch.device) -> Tensor:
    """Indices of a row with ``radius`` pixels more on each side, mirrored at the centres of its border pixels."""
    period = max(2 * (size - 1), 1)
    index = torch.arange(-radius, size + radius, device=device).remainder(period)
    return torch.minimum(index, period - index) if size > 1 else torch.zeros_like(index)
