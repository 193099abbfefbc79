"""The steps that every gradient attack shares: distance to G(x), signed step, projection to the epsilon ball."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from arsbench.contracts import Protector
from arsbench.draws import uniform


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


def unmanipulated_target(protector: Protector, x: Tensor, keys: Sequence[str]) -> Tensor:
    """G(x), without gradient: what every attack moves away from."""
    with torch.no_grad():
        return protector.manipulator.manipulate(x, keys)
