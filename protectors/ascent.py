"""What every gradient attack shares: float64, distance to G(x), signed step, projection to the epsilon ball."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from arsbench.contracts import Manipulator, Protector
from arsbench.draws import uniform
from arsbench.float64 import has_float64, manipulator_in_float64


class GradientAttack(Protector):
    """A protector that follows the gradient of ``self.climbed``, the manipulator in float64 where it promises that.

    The signs of float32 gradients differ between processors, and with them the protected pictures.
    """

    def __init__(self, manipulator: Manipulator, epsilon: float = 0.3, seed: int = 0) -> None:
        super().__init__(manipulator, epsilon, seed)
        self.climbed = manipulator_in_float64(manipulator)

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x_p, same shape and dtype, within epsilon."""
        return self.climb(x.double() if has_float64(self.climbed) else x, keys).to(x)

    @abstractmethod
    def climb(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1], of the dtype that ``self.climbed`` takes -> x_p, same shape and dtype."""


def squared_distance(y: Tensor, target: Tensor) -> Tensor:
    """The mean squared error of each image, summed over the batch: no image's gradient depends on another."""
    return (y - target).square().mean((1, 2, 3)).sum()


def project(x_p: Tensor, x: Tensor, epsilon: float) -> Tensor:
    """The nearest point of the L_inf ball of radius ``epsilon`` around ``x``, then of [-1, 1]."""
    return torch.min(torch.max(x_p, x - epsilon), x + epsilon).clamp(-1, 1)


def random_start(x: Tensor, keys: Sequence[str], radius: float, purpose: str, seed: int) -> Tensor:
    """``x`` plus uniform noise in [-radius, radius], each image's from its own key."""
    return (x + radius * (2 * uniform(keys, x.shape[1:], purpose, seed).to(x) - 1)).clamp(-1, 1)


def gradient(loss: Callable[[Tensor], Tensor], x_p: Tensor) -> Tensor:
    """The gradient of ``loss`` at ``x_p``, same shape."""
    x_p = x_p.detach().requires_grad_(True)
    return torch.autograd.grad(loss(x_p), x_p)[0]


def unmanipulated_target(manipulator: Manipulator, x: Tensor, keys: Sequence[str]) -> Tensor:
    """G(x), without gradient: what every attack moves away from."""
    with torch.no_grad():
        return manipulator.manipulate(x, keys)
