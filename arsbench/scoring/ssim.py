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
        """The picture in [0, 1], its mean within the window, and half of its terms of SSIM's denominators.

        Raises:
            ArsbenchError: a side is shorter than the window.
        """
        height, width = x.shape[-2:]
        if min(height, width) < SSIM_WINDOW:
            raise ArsbenchError(
                f"SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, these have {height} x {width}; "
                "use larger ones"
            )
        x = (x + 1) / 2
        mean = _filtered(x)
        mean_square = mean.square()
        variance = _filtered(x.square()).sub_(mean_square)
        return [x, mean, mean_square.add_(C1 / 2).div_(2), variance.add_(C2 / 2).div_(2)]

    def compare(self, a: Features, b: Features) -> Tensor:
        """SSIM, at most 1, float64 ``[B]``."""
        # Each factor, above and below, is half of that in the paper.
        (x, mean_x, square_x, variance_x), (y, mean_y, square_y, variance_y) = a, b
        mean_xy = mean_x * mean_y
        covariance = _filtered(x * y).sub_(mean_xy)
        above = mean_xy.add_(C1 / 2).mul_(covariance.add_(C2 / 2))
        below = (square_x + square_y).mul_(variance_x + variance_y)
        return above.div_(below).mean((-1, -2)).view(-1, CHANNELS).mean(1).double()


def _filtered(x: Tensor) -> Tensor:
    """``x`` [B, C, H, W], each channel through the window, as ``[1, B C, H', W']``."""
    # The channels of all pictures are those of one: torch filters many channels twice as fast as three. Along the rows,
    # then along the columns, takes two thirds of the time of the whole window, and rounds less: that matters where a
    # picture is nearly flat and its variance is a small difference of large numbers.
    x = x.reshape(1, -1, *x.shape[-2:])
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
