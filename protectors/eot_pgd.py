"""EoT-PGD: momentum PGD through a random perturbation per step (Athalye et al. 2018; momentum: Dong et al. 2018).

Beyond the paper: the strongest iterative attack that knows the protocol's six perturbations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.draws import generator
from arsbench.protectors.ascent import (
    GradientAttack,
    gradient,
    project,
    random_start,
    squared_distance,
    unmanipulated_target,
)
from arsbench.protectors.random_perturbation import RandomPerturbation

STEPS = 60
MOMENTUM = 0.9
STEP_SHARE = 0.1
"""Step size over epsilon."""


class EoTPGD(GradientAttack):
    """Sixty signed steps of epsilon / 10 with momentum 0.9, each image with its own random perturbation per step."""

    name = "eot_pgd"
    thread_safe: ClassVar[bool] = True

    def climb(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x_p, same shape and dtype, within epsilon."""
        target = unmanipulated_target(self.climbed, x, keys)
        draws = [generator(key, "eot_pgd", self.seed) for key in keys]
        x_p = random_start(x, keys, self.epsilon, "eot_pgd-start", self.seed)
        velocity = torch.zeros_like(x)
        for step in range(STEPS):
            perturbations = [RandomPerturbation.draw(d, self.manipulator.track) for d in draws]
            step_keys = [f"{key}#{step}" for key in keys]

            def loss(
                x_p: Tensor, perturbations: list[RandomPerturbation] = perturbations, named: list[str] = step_keys
            ) -> Tensor:
                each = [p(x_p[i : i + 1], named[i : i + 1]) for i, p in enumerate(perturbations)]
                return squared_distance(self.climbed.manipulate(torch.cat(each), keys), target)

            grad = gradient(loss, x_p)
            velocity = MOMENTUM * velocity + grad / grad.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
            x_p = project(x_p + STEP_SHARE * self.epsilon * velocity.sign(), x, self.epsilon)
        return x_p
