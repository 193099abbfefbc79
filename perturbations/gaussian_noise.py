"""Gaussian noise on every value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.contracts import Levels, Perturbation
from arsbench.draws import generator


class GaussianNoise(Perturbation):
    """Adds independent normal noise, drawn from the image's key; the parameter is its standard deviation in [-1, 1]."""

    name = "gaussian_noise"
    levels: ClassVar[Levels] = (0.02, 0.04, 0.08, 0.12, 0.16)
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the same range; differentiable."""
        noise = normal(keys, x.shape[1:], "perturbation/gaussian_noise").to(x)
        return (x + parameter * noise).clamp(-1, 1)


def normal(keys: Sequence[str], shape: Sequence[int], purpose: str) -> Tensor:
    """Independent standard normal numbers ``[B, *shape]``, one draw per key."""
    return torch.stack([torch.randn(*shape, generator=generator(key, purpose)) for key in keys])
