"""The controls of every run: what a number is worth that a protection reaches without attacking anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from arsbench.contracts import Protector
from arsbench.draws import uniform

SHADE_PATCHES = 4
"""Patches per side of the fixed pattern of ``shade``."""


class Nothing(Protector):
    """x itself: any difference it shows is the manipulator's own noise."""

    name = "none"
    batch_invariant: ClassVar[bool] = True

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """Returns ``x``."""
        return x


class Noise(Protector):
    """x plus or minus epsilon, a random sign for each value."""

    name = "noise"
    batch_invariant: ClassVar[bool] = True

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] -> x_p, same shape, within epsilon."""
        signs = uniform(keys, x.shape[1:], "noise", self.seed).to(x).sub(0.5).sign()
        return (x + self.epsilon * signs).clamp(-1, 1)


class Brighten(Protector):
    """x plus epsilon everywhere: wins the published SR without an attack."""

    name = "brighten"
    batch_invariant: ClassVar[bool] = True

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] -> x_p, same shape, within epsilon."""
        return (x + self.epsilon).clamp(-1, 1)


class Shade(Protector):
    """x plus or minus epsilon in one fixed pattern of large smooth patches: painted on, not an attack."""

    name = "shade"
    batch_invariant: ClassVar[bool] = True

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] -> x_p, same shape, within epsilon."""
        cells = torch.arange(SHADE_PATCHES, dtype=torch.float32)
        board = 1 - 2 * ((cells[:, None] + cells[None, :]) % 2)
        pattern = F.interpolate(board[None, None], size=x.shape[-2:], mode="bicubic", align_corners=False).clamp(-1, 1)
        return (x + self.epsilon * pattern.to(x)).clamp(-1, 1)


class White(Protector):
    """The ceiling: y_p is all white whatever G does. The harness computes nothing for it."""

    name = "white"
    ceiling: ClassVar[bool] = True
    batch_invariant: ClassVar[bool] = True

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """Returns ``x``."""
        return x
