"""A border cut off, and what is left enlarged to size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from arsbench.contracts import Levels, Perturbation
from arsbench.perturbations.affine import moved


class CropResize(Perturbation):
    """Cuts the parameter's share of the side off at each border and enlarges the rest, bilinear."""

    name = "crop_resize"
    levels: ClassVar[Levels] = (0.02, 0.04, 0.06, 0.08, 0.1)
    thread_safe: ClassVar[bool] = True

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the same range; differentiable."""
        kept = 1 - 2 * parameter
        return moved(x, [[kept, 0.0, 0.0], [0.0, kept, 0.0]])
