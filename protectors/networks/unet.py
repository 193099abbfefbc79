"""The U-Net of the learned protectors (Ronneberger et al. 2015), for sides that are multiples of 8."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_block(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, leaky ReLU."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.LeakyReLU(0.2))


class UNet(nn.Module):
    """``[B, n_in, H, W]`` -> ``[B, n_out, H, W]``, unbounded; three halvings, skip connections.

    Args:
        n_in: input channels.
        n_out: output channels.
        base: channels at full size, doubled at each of the first two halvings.
    """

    def __init__(self, n_in: int, n_out: int, base: int) -> None:
        super().__init__()
        widths = (base, 2 * base, 4 * base, 4 * base)
        self.entry = conv_block(n_in, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(conv_block(a, b, stride=2), conv_block(b, b)) for a, b in pairwise(widths)
        )
        self.narrow = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in range(3))
        self.up = nn.ModuleList(conv_block(2 * widths[i], widths[i]) for i in range(3))
        self.exit = nn.Conv2d(base, n_out, 3, 1, 1)
        # The output starts small, far from any bound.
        nn.init.normal_(self.exit.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.entry(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        h = skips.pop()
        for i in (2, 1, 0):
            h = F.interpolate(self.narrow[i](h), scale_factor=2, mode="nearest")
            h = self.up[i](torch.cat([h, skips[i]], dim=1))
        out: Tensor = self.exit(h)
        return out
