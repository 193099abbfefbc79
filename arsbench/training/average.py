"""The running average of a network's weights, which is what a training ships."""

from __future__ import annotations

import torch


def update_average(average: torch.nn.Module, now: torch.nn.Module, step: int, decay: float) -> None:
    """Moves the running average of a network's weights towards ``now``, in place; faster in the first steps."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), now.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
