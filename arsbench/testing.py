"""For people who write methods: a manipulator made of one function, and pictures to try a method on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.contracts import Manipulator
from arsbench.draws import uniform
from arsbench.faces.delivery import deliver


def halved(x: Tensor) -> Tensor:
    """The mirrored picture at half contrast: differentiable, deterministic, too weak to let noise through."""
    return 0.5 * x.flip(-1)


class FakeManipulator(Manipulator):
    """G(x) = function(x): loads nothing and answers at once.

    Args:
        function: pictures ``[B, 3, H, W]`` in [-1, 1] -> pictures of the same shape, differentiable.
        device: where it computes.
    """

    name = "fake"
    thread_safe: ClassVar[bool] = True

    def __init__(self, function: Callable[[Tensor], Tensor] = halved, device: str | torch.device = "cpu") -> None:
        super().__init__(device)
        self.function = function

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] -> function(x)."""
        return self.function(x)


def pictures(n: int = 4, size: int = 64) -> tuple[Tensor, list[str]]:
    """Delivered pictures of smooth noise ``[n, 3, size, size]`` in [-1, 1], and their keys; the same at each call."""
    keys = [f"picture {i}" for i in range(n)]
    coarse = uniform(keys, (3, max(1, size // 8), max(1, size // 8)), "testing picture") * 2 - 1
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    return deliver(smooth), keys
