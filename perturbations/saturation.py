"""Weaker colours: the chroma of YCbCr (BT.601, full range) scaled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kornia.color import rgb_to_grayscale
from torch import Tensor

from arsbench.contracts import Levels, Perturbation


class Saturation(Perturbation):
    """Scales Cb and Cr by the parameter and keeps the luma Y; 0 leaves grey. Levels of DeeperForensics-1.0.

    Cb and Cr are multiples of B - Y and R - Y, and Y is a weighted mean of R, G and B, so scaling them by p is the same
    as Y + p (RGB - Y) on every channel. Written so, nothing is lost to the rounded coefficients or the clip of a
    conversion there and back.
    """

    name = "saturation"
    levels: ClassVar[Levels] = (0.4, 0.3, 0.2, 0.1, 0.0)
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the same range; differentiable."""
        luma = rgb_to_grayscale(x)
        return luma + parameter * (x - luma)
