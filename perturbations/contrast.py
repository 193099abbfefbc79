"""Weaker contrast: every value drawn towards the image's mean luma."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from kornia.color import rgb_to_grayscale
from torch import Tensor

from arsbench.contracts import Levels, Perturbation


class Contrast(Perturbation):
    """m + p (x - m) with m the mean BT.601 luma of the image and p the parameter.

    The strengths are those of DeeperForensics-1.0, whose code multiplies by p alone and so only darkens.
    """

    name = "contrast"
    levels: ClassVar[Levels] = (0.85, 0.725, 0.6, 0.475, 0.35)
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the same range; differentiable."""
        # In float64 the order of summation, which changes with the batch, is lost when rounding to float32.
        mean = rgb_to_grayscale(x).mean((1, 2, 3), keepdim=True, dtype=torch.float64).to(x.dtype)
        return mean + parameter * (x - mean)
