"""FGSM: one signed gradient step (Goodfellow et al. 2015, equation 1; Kurakin et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from arsbench.protectors.ascent import (
    GradientAttack,
    gradient,
    project,
    random_start,
    squared_distance,
    unmanipulated_target,
)

JITTER = 0.001
"""At x itself the distance to G(x) has no gradient."""


class FGSM(GradientAttack):
    """One step of epsilon from a jitter of +-0.001."""

    name = "fgsm"
    thread_safe: ClassVar[bool] = True

    def climb(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x_p, same shape and dtype, within epsilon."""
        target = unmanipulated_target(self.climbed, x, keys)
        start = random_start(x, keys, JITTER, "fgsm", self.seed)
        grad = gradient(lambda x_p: squared_distance(self.climbed.manipulate(x_p, keys), target), start)
        return project(start + self.epsilon * grad.sign(), x, self.epsilon)
