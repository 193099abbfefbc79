"""ssim: structural similarity of the outputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.scoring.features import FeatureMetric, Features
from arsbench.scoring.torchvision_cure import import_with_cure

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


class StructuralSimilarity(FeatureMetric):
    """Structural similarity (Wang et al. 2004): ``piq.ssim`` on (x + 1) / 2, valid border."""

    name = "ssim"
    definition = "Gaussian window 11, sigma 1.5, valid border, on (y + 1) / 2, data range 1"
    higher_is_better = False
    range = (-1.0, 1.0)

    def features(self, x: Tensor) -> Features:
        """The picture in [0, 1].

        Raises:
            ArsbenchError: a side is shorter than the window.
        """
        height, width = x.shape[-2:]
        if min(height, width) < SSIM_WINDOW:
            raise ArsbenchError(
                f"SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, these have {height} x {width}; "
                "use larger ones"
            )
        return [(x + 1) / 2]

    def compare(self, a: Features, b: Features) -> Tensor:
        """SSIM, at most 1, float64 ``[B]``."""
        piq: Any = import_with_cure("piq.ssim")
        n, channels, height, width = a[0].shape
        window = piq.gaussian_filter(SSIM_WINDOW, SSIM_SIGMA, device=a[0].device, dtype=a[0].dtype)
        # What piq.ssim does, to the last bit, but with the channels of all pictures as those of one: torch filters
        # many channels twice as fast as three.
        as_one = (1, n * channels, height, width)
        values, _ = piq._ssim_per_channel(
            a[0].reshape(as_one), b[0].reshape(as_one), window.expand(n * channels, -1, -1, -1)
        )
        each: Tensor = values.view(n, channels).mean(1)
        return each.double()
