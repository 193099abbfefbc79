"""ssim: structural similarity of the outputs."""

from __future__ import annotations

import functools
import math

from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.scoring.features import FeatureMetric, Features
from arsbench.scoring.psnr import on_unit_range

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


class StructuralSimilarity(FeatureMetric):
    """Structural similarity (Wang et al. 2004): ``piq.ssim`` on (x + 1) / 2, valid border."""

    name = "ssim"
    definition = "Gaussian window 11, sigma 1.5, valid border, on (y + 1) / 2, data range 1"
    higher_is_better = False
    range = (-1.0, 1.0)

    def features(self, x: Tensor) -> Features:
        """The picture in [0, 1], and its mean, the square of that and its variance within the window.

        Raises:
            ArsbenchError: a side is shorter than the window.
        """
        height, width = x.shape[-2:]
        if min(height, width) < SSIM_WINDOW:
            raise ArsbenchError(
                f"SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, these have {height} x {width}; "
                "use larger ones"
            )
        x = on_unit_range(x)
        mean = _filtered(x)
        mean_square = mean.square()
        return [x, mean, mean_square, _filtered(x.square()).sub_(mean_square)]

    def compare(self, a: Features, b: Features) -> Tensor:
        """SSIM, at most 1, float64 ``[B]``."""
        (x, mean_x, square_x, variance_x), (y, mean_y, square_y, variance_y) = a, b
        mean_xy = mean_x * mean_y
        contrast = _filtered(x * y).sub_(mean_xy).mul_(2).add_(C2).div_((variance_x + variance_y).add_(C2))
        values = mean_xy.mul_(2).add_(C1).div_((square_x + square_y).add_(C1)).mul_(contrast)
        return values.mean((-1, -2)).mean(1).double()


@functools.cache
def _taps() -> tuple[float, ...]:
    """The window is the product of this filter with itself, along the rows and along the columns."""
    middle = SSIM_WINDOW // 2
    weights = [math.exp(-((i - middle) ** 2) / (2 * SSIM_SIGMA**2)) for i in range(SSIM_WINDOW)]
    return tuple(weight / sum(weights) for weight in weights)


def _filtered(x: Tensor) -> Tensor:
    """``x`` [B, C, H, W], each channel through the window: tap by tap, which rounds alike in a batch of any size."""
    for dim in (-2, -1):
        length = x.shape[dim] - SSIM_WINDOW + 1
        filtered = x.narrow(dim, 0, length) * _taps()[0]
        for i, weight in enumerate(_taps()[1:], start=1):
            filtered.add_(x.narrow(dim, i, length), alpha=weight)
        x = filtered
    return x
