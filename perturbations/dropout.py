"""Lost pixels: a share of them turns black."""

from __future__ import annotations

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

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the same range; differentiable where pixels remain."""
        lost = uniform(keys, (1, *x.shape[-2:]), "perturbation/dropout").to(x.device) < parameter
        return torch.where(lost, BLACK, x)
