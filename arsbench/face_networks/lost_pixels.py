"""Pixels that a picture has lost, as the perturbation ``dropout`` leaves them: black ones, scattered over it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BLACK = -1.0
SCATTERED_SHARE = 0.03
"""Of a picture's pixels: as many black ones between others make a picture that has lost pixels. By itself a generated
face has at most 0.014 (of 13 000 faces); at the weakest level of ``dropout`` the least is 0.067 (of 1000)."""
KERNEL = ((1.0, 2.0, 1.0), (2.0, 0.0, 2.0), (1.0, 2.0, 1.0))
PASSES = 3
"""After the first, one lost pixel in 250 is left at the strongest level, where half of them are lost."""


def fill_lost_pixels(x: Tensor) -> Tensor:
    """``x`` [B, 3, H, W] in [-1, 1] with its lost pixels made from those around them; differentiable in the others.

    A picture that has lost none, whatever is black in it, is returned as it is; no picture depends on another.
    """
    lossy = scattered_share(x) >= SCATTERED_SHARE
    if not bool(lossy.any()):
        return x
    kernel = torch.tensor(KERNEL, device=x.device, dtype=x.dtype).expand(3, 1, 3, 3)
    for _ in range(PASSES):
        kept = (~_black(x)).to(x.dtype)
        total = F.conv2d(x * kept, kernel, padding=1, groups=3)
        weight = F.conv2d(kept, kernel[:1], padding=1)
        fill = lossy[:, None, None, None] & (kept == 0) & (weight > 0)
        x = torch.where(fill, total / weight.clamp(min=1), x)
    return x


def scattered_share(x: Tensor) -> Tensor:
    """The share of the pixels of ``x`` [B, 3, H, W] that are black between two opposite ones that are not, ``[B]``."""
    black = _black(x)
    kept = F.pad(~black, (1, 1, 1, 1))
    height, width = x.shape[-2:]

    def neighbour(down: int, right: int) -> Tensor:
        return kept[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    between = torch.zeros_like(black)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        between |= neighbour(down, right) & neighbour(-down, -right)
    return (black & between).flatten(1).float().mean(1)


def _black(x: Tensor) -> Tensor:
    """Which pixels have no light in any channel, ``[B, 1, H, W]``."""
    return (x <= BLACK).all(1, keepdim=True)
