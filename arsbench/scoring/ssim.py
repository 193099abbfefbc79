"""ssim: structural similarity of the outputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import conv2d

from arsbench.contracts import ArsbenchError
from arsbench.scoring.features import FeatureMetric, Features
from arsbench.scoring.psnr import on_unit_range
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
        # The operations of piq.ssim in its order, so that the values are its own to the last bit.
        (x, mean_x, square_x, variance_x), (y, mean_y, square_y, variance_y) = a, b
        mean_xy = mean_x * mean_y
        contrast = _filtered(x * y).sub_(mean_xy).mul_(2).add_(C2).div_((variance_x + variance_y).add_(C2))
        values = mean_xy.mul_(2).add_(C1).div_((square_x + square_y).add_(C1)).mul_(contrast)
        return values.mean((-1, -2)).view(-1, CHANNELS).mean(1).double()


def _filtered(x: Tensor) -> Tensor:
    """``x`` [B, C, H, W], each channel through the window, as ``[1, B C, H', W']``."""
    piq: Any = import_with_cure("piq.ssim")
    # The channels of all pictures are those of one: torch filters many channels twice as fast as three. A filter along
    # the rows and one along the columns would take a fifth less time, and round otherwise than piq.
    x = x.reshape(1, -1, *x.shape[-2:])
    window = piq.gaussian_filter(SSIM_WINDOW, SSIM_SIGMA, device=x.device, dtype=x.dtype)
    return conv2d(x, window.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])
