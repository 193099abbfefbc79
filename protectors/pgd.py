"""PGD: projected gradient ascent from a random start (Madry et al. 2018; as in Ruiz et al. 2020)."""

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

STEPS = 10
STEP_SHARE = 0.25
"""Step size over epsilon."""


class PGD(GradientAttack):
    """Ten signed steps of epsilon / 4 from a uniform start in the epsilon ball."""

    name = "pgd"
    thread_safe: ClassVar[bool] = True

    def climb(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x_p, same shape and dtype, within epsilon."""
        target = unmanipulated_target(self.climbed, x, keys)
        x_p = random_start(x, keys, self.epsilon, "pgd", self.seed)
        for _ in range(STEPS):
            grad = gradient(lambda x_p: squared_distance(self.climbed.manipulate(x_p, keys), target), x_p)
            x_p = project(x_p + STEP_SHARE * self.epsilon * grad.sign(), x, self.epsilon)
        return x_p
