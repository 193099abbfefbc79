"""A rotation by up to a degree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from arsbench.contracts import Levels, Perturbation
from arsbench.perturbations.affine import moved


class Rotation(Perturbation):
    """Rotates about the centre by the parameter, in degrees; bilinear, the border repeated."""

    name = "rotation"
    levels: ClassVar[Levels] = (0.2, 0.4, 0.6, 0.8, 1.0)
    thread_safe: ClassVar[bool] = True

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the same range; differentiable."""
        sine, cosine = math.sin(math.radians(parameter)), math.cos(math.radians(parameter))
        height, width = x.shape[-2:]
        return moved(x, [[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]])
