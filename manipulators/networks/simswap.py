"""SimSwap's generator: an encoder, identity injection by AdaIN residual blocks, a decoder (Chen et al. 2020).

Parameter names are those of the official checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

OFFICIAL_CHANNELS = (64, 128, 256, 512)


class InstanceNorm(nn.Module):
    """Zero mean and unit mean square over height and width, without parameters."""

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean((2, 3), keepdim=True)
        return x * torch.rsqrt(x.square().mean((2, 3), keepdim=True) + 1e-8)


class ApplyStyle(nn.Module):
    """x (s_0 + 1) + s_1, where a linear layer makes both s from the identity."""

    def __init__(self, latent: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent, 2 * channels)

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        scale, shift = self.linear(identity)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = x * (scale + 1) + shift
        return out


class AdainBlock(nn.Module):
    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), InstanceNorm())
        self.style1 = ApplyStyle(latent, channels)
        self.conv2 = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), InstanceNorm())
        self.style2 = ApplyStyle(latent, channels)

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        h = torch.relu(self.style1(self.conv1(x), identity))
        out: Tensor = x + self.style2(self.conv2(h), identity)
        return out


class SimSwapGenerator(nn.Module):
    """``[B, 3, H, W]`` in [0, 1] and identities ``[B, latent]`` -> ``[B, 3, H, W]`` in [0, 1]; sides multiples of 8.

    Args:
        channels: at full size and after each of the three halvings.
        latent: numbers of an identity.
        blocks: identity blocks at the smallest size.
    """

    def __init__(self, channels: Sequence[int] = OFFICIAL_CHANNELS, latent: int = 512, blocks: int = 9) -> None:
        super().__init__()
        self.first_layer = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, channels[0], 7), nn.BatchNorm2d(channels[0]), nn.ReLU()
        )
        self.down1, self.down2, self.down3 = (
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(channels)
        )
        self.BottleNeck = nn.ModuleList(AdainBlock(channels[-1], latent) for _ in range(blocks))
        self.up3, self.up2, self.up1 = (
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                nn.Conv2d(a, b, 3, 1, 1),
                nn.BatchNorm2d(b),
                nn.ReLU(),
            )
            for a, b in pairwise(reversed(channels))
        )
        self.last_layer = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(channels[0], 3, 7), nn.Tanh())

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        x = self.down3(self.down2(self.down1(self.first_layer(x))))
        for block in self.BottleNeck:
            x = block(x, identity)
        out: Tensor = self.last_layer(self.up1(self.up2(self.up3(x))))
        return (out + 1) / 2
