"""The bound of learned noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def clip(raw: Tensor) -> Tensor:
    """Clip to [-1, 1]; a value beyond keeps the gradient that leads back inside, or it would never return."""
    clipped: Tensor = _Clip.apply(raw)  # type: ignore[no-untyped-call]
    return clipped


class _Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: Tensor) -> Tensor:
        ctx.save_for_backward(raw)
        return raw.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        (raw,), (gradient,) = ctx.saved_tensors, gradients
        # Descent moves against the gradient: back inside where its sign is that of raw.
        kept: Tensor = gradient * ((raw.abs() <= 1) | (gradient * raw > 0))
        return kept
