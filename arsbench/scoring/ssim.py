"""ssim: structural similarity of the outputs."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from arsbench.contracts import ArsbenchError
from arsbench.scoring.features import FeatureMetric, Features
from arsbench.scoring.torchvision_cure import import_with_cure

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2
CHANNELS = 3


class StructuralSimilarity(FeatureMetric):
    """Structural similarity (Wang et al. 2004): ``piq.ssim`` on (x + 1) / 2, valid border."""

    name = "ssim"
    definition = "Gaussian window 11, sigma 1.5, valid border, on (y + 1) / 2, data range 1"
    higher_is_better = False
    range = (-1.0, 1.0)

    def features(self, x: Tensor) -> Features:
        """x, its mean within the window, that of x + 1, and its variance plus 2 C2, maps ``[1, B C, H, W]``.

        They are in channels-last order: a window along many channels is then two to three times as fast. SSIM is of
        (x + 1) / 2; of x + 1 it is the same with constants four times as large, and x has the variance of x + 1, with
        less rounding.

        Raises:
            ArsbenchError: a side is shorter than the window.
        """
        height, width = x.shape[-2:]
        if min(height, width) < SSIM_WINDOW:
            raise ArsbenchError(
                f"SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, these have {height} x {width}; "
                "use larger ones"
            )
        channels_last = x.reshape(-1, height * width).t().contiguous()
        x = channels_last.view(1, height, width, -1).permute(0, 3, 1, 2)
        mean = _filtered(x)
        return [x, mean, mean + 1, _covariance(x, mean, x, mean)]

    def compare(self, a: Features, b: Features) -> Tensor:
        """SSIM, at most 1, float64 ``[B]``."""
        (x, mean_x, raised_x, variance_x), (y, mean_y, raised_y, variance_y) = a, b
        # Above the line stand halves of the paper's factors; so there is a 4 at the end.
        means = _product_plus(2 * C1, raised_x, raised_y)
        squares = _product_plus(4 * C1, raised_x, raised_x).addcmul_(raised_y, raised_y)
        halves = means.mul_(_covariance(x, mean_x, y, mean_y)).div_(squares).div_(variance_x + variance_y)
        # In float64 the order of summation, which changes with the batch, is lost when rounding to float32.
        return 4 * halves.mean((-1, -2), dtype=torch.float64).view(-1, CHANNELS).mean(1)


def _covariance(x: Tensor, mean_x: Tensor, y: Tensor, mean_y: Tensor) -> Tensor:
    """The covariance within the window, plus 2 C2: the window leaves a constant what it is."""
    return _filtered(_product_plus(2 * C2, x, y)).addcmul_(mean_x, mean_y, value=-1)


def _product_plus(constant: float, x: Tensor, y: Tensor) -> Tensor:
    """x y + ``constant``, in one pass."""
    return torch.addcmul(torch.full((), constant, dtype=x.dtype, device=x.device), x, y)


def _filtered(x: Tensor) -> Tensor:
    """``x`` [1, B C, H, W], each channel through the window, as ``[1, B C, H', W']``."""
    # Along the rows, then along the columns, is faster than the whole window and rounds less: that matters where a
    # picture is nearly flat and its variance is a small difference of large numbers.
    window = _window(x.device, x.dtype)
    for along in (window[None], window[:, None]):
        x = conv2d(x, along.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])
    return x


@functools.lru_cache(maxsize=4)
def _window(device: torch.device, dtype: torch.dtype) -> Tensor:
    """piq's Gaussian window along one axis, ``[11]``."""
    piq: Any = import_with_cure("piq.ssim")
    window: Tensor = piq.gaussian_filter(SSIM_WINDOW, SSIM_SIGMA, device=device, dtype=dtype)
    return window.sum((0, 1))
