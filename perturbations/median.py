"""A median filter, the plainest removal."""

from __future__ import annotations

from typing import ClassVar

from kornia.filters import median_blur
from torch import Tensor

from arsbench.perturbations.removal import Removal


class Median(Removal):
    """The median of 3 x 3 pixels, channel by channel."""

    name = "median"
    thread_safe: ClassVar[bool] = True

    def remove(self, x: Tensor) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> filtered; differentiable."""
        # The filter pads with zeros: over a border of its own it sees none of them.
        height, width = x.shape[-2:]
        rows, columns = _repeated(height, x), _repeated(width, x)
        filtered: Tensor = median_blur(x.index_select(-2, rows).index_select(-1, columns), 3)
        return filtered[..., 1:-1, 1:-1]


def _repeated(size: int, x: Tensor) -> Tensor:
    """Indices of a row with its first and last pixel once more."""
    return x.new_tensor([0, *range(size), size - 1]).long()
