"""Disrupt: PGD with one blur of a spread-spectrum schedule in the model's path per step (Ruiz et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from arsbench.protectors.ascent import (
    GradientAttack,
    gradient,
    project,
    random_start,
    squared_distance,
    unmanipulated_target,
)

CYCLES = 2
STEP_SHARE = 0.25
"""Step size over epsilon."""
GAUSSIAN_SIZE = 11


class Schedule(NamedTuple):
    """The blurs of one cycle: Gaussian sigmas, then box sizes, in pixels."""

    sigmas: tuple[float, ...]
    boxes: tuple[int, ...]


SCHEDULES = {
    "paper": Schedule((1.0, 1.5, 2.0, 2.5, 3.0), (5, 7, 9)),
    "open": Schedule((0.5, 0.75, 1.0, 1.5, 2.0), (3, 5, 7)),
}


def gaussian_kernel(sigma: float, size: int = GAUSSIAN_SIZE) -> Tensor:
    """``[size, size]`` in float64, sums to 1."""
    at = torch.arange(size, dtype=torch.float64) - size // 2
    line = torch.exp(-at.square() / (2 * sigma**2))
    return line.outer(line) / line.sum().square()


def box_kernel(size: int) -> Tensor:
    """``[size, size]`` in float64, sums to 1."""
    return torch.full((size, size), 1 / size**2, dtype=torch.float64)


def blur(x: Tensor, kernel: Tensor) -> Tensor:
    """``x`` [B, C, H, W] convolved per channel, zero padding."""
    channels = x.shape[1]
    return F.conv2d(x, kernel.to(x).expand(channels, 1, -1, -1), padding=kernel.shape[-1] // 2, groups=channels)


class Disrupt(GradientAttack):
    """Sixteen signed steps of epsilon / 4, two cycles of the schedule, against the unblurred G(x)."""

    name = "disrupt"
    thread_safe: ClassVar[bool] = True

    def climb(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x_p, same shape and dtype, within epsilon."""
        schedule = SCHEDULES[self.manipulator.track]
        kernels = [gaussian_kernel(s) for s in schedule.sigmas] + [box_kernel(s) for s in schedule.boxes]
        target = unmanipulated_target(self.climbed, x, keys)
        x_p = random_start(x, keys, self.epsilon, "disrupt", self.seed)
        for kernel in kernels * CYCLES:

            def loss(x_p: Tensor, kernel: Tensor = kernel) -> Tensor:
                return squared_distance(self.climbed.manipulate(blur(x_p, kernel), keys), target)

            x_p = project(x_p + STEP_SHARE * self.epsilon * gradient(loss, x_p).sign(), x, self.epsilon)
        return x_p
