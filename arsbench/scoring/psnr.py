"""psnr: peak signal-to-noise ratio of the outputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from arsbench.contracts import Metric, Pair
from arsbench.scoring.torchvision_cure import import_with_cure


def peak_signal_to_noise(a: Tensor, b: Tensor) -> Tensor:
    """``piq.psnr`` at data range 2, -10 log10(mse / 4 + 1e-8) in dB, float64 ``[B]``: 80 dB for equal images."""
    piq: Any = import_with_cure("piq")
    values: Tensor = piq.psnr((a + 1) / 2, (b + 1) / 2, data_range=1.0, reduction="none")
    return values.double()


class PeakSignalToNoise(Metric):
    """Peak signal-to-noise ratio of y_p against y, data range 2, in dB."""

    name = "psnr"
    definition = "-10 log10(mse / 4 + 1e-8)"
    higher_is_better = False
    range = (0.0, 80.0)

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]`` in dB, 80 for equal pictures."""
        return peak_signal_to_noise(pair.y, pair.y_p)
