"""Lost pixels: a share of them turns black."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.contracts import Levels, Perturbation
from arsbench.draws import uniform

BLACK = -1.0


class Dropout(Perturbation):
    """Sets each pixel to black, all channels together, with the parameter as probability.

    Each pixel has one number, drawn from the image's key; a pixel that is lost at one level is lost at all stronger.
    """

    name = "dropout"
    levels: ClassVar[Levels] = (0.1, 0.2, 0.3, 0.4, 0.5)
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the same range; differentiable where pixels remain."""
        lost = _numbers(tuple(keys), *x.shape[-2:]).to(x.device) < parameter
        return torch.where(lost, BLACK, x)


@functools.lru_cache(maxsize=2)
def _numbers(keys: tuple[str, ...], height: int, width: int) -> Tensor:
    """One per pixel ``[B, 1, H, W]``; the same for every level and protector, so the last ones are kept."""
    return uniform(keys, (1, height, width), "perturbation/dropout")
