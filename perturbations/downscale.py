"""Lost resolution: a smaller picture, brought back to size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import interpolate

from arsbench.contracts import Levels, Perturbation


class Downscale(Perturbation):
    """Downscales to round(H / factor) x round(W / factor), antialiased, and back; bilinear both ways.

    The parameter is the factor. On the paper track the factors of DeeperForensics-1.0's "JPEG", which only resizes.
    """

    name = "downscale"
    levels: ClassVar[dict[str, Levels]] = {"open": (1.25, 1.5, 2.0, 2.5, 3.0), "paper": (2.0, 3.0, 4.0, 5.0, 6.0)}
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1], of any size -> the same range; differentiable."""
        height, width = x.shape[-2:]
        small = (max(1, round(height / parameter)), max(1, round(width / parameter)))
        # Contiguous, because another memory layout takes another kernel, which rounds differently.
        shrunk = interpolate(x.contiguous(), small, mode="bilinear", align_corners=False, antialias=True)
        return interpolate(shrunk, (height, width), mode="bilinear", align_corners=False)
