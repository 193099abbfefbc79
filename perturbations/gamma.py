"""A brighter tone curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from arsbench.contracts import Levels, Perturbation

DARKEST = 1e-4
"""Below it the curve's slope would grow without bound; half of an 8-bit step is 2e-3."""


class Gamma(Perturbation):
    """v ** p with v in [0, 1] and p the parameter: a power below 1 brightens the dark tones most."""

    name = "gamma"
    levels: ClassVar[Levels] = (0.9, 0.8, 0.7, 0.6, 0.5)
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the same range; differentiable."""
        return ((x + 1) / 2).clamp(DARKEST, 1) ** parameter * 2 - 1
