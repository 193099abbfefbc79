"""The two-way network of ARS: basic protection f, robust protection g1, g_n, g2 (Guan et al. 2024, figure 2)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from arsbench.protectors.networks.bounds import clip
from arsbench.protectors.networks.unet import UNet, conv_block

Bound = Literal["clip", "tanh"]


class Noises(NamedTuple):
    """What one forward pass gives, each ``[B, 3, H, W]`` within [-epsilon, epsilon].

    Attributes:
        basic: eta_b = f(x), equation 2.
        robust: eta = g2(cat(z, n_s, eta_b)), equation 6; the protection.
    """

    basic: Tensor
    robust: Tensor


class NoiseEncoder(nn.Module):
    """g_n: eta_b ``[B, 3, H, W]`` -> n ``[B, C, 1, 1]``, by Conv-BN-ReLU layers of stride 2 and a mean (equation 5)."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        widths = (3, base, 2 * base, 4 * base)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
                for a, b in pairwise(widths)
            ),
            nn.Conv2d(widths[-1], channels, 1),
        )

    def forward(self, noise: Tensor) -> Tensor:
        n: Tensor = self.layers(noise)
        return n.mean((2, 3), keepdim=True)


class ArsNetwork(nn.Module):
    """x ``[B, 3, H, W]`` in [-1, 1] -> the basic and the robust noise.

    Args:
        base: channels of the U-Nets at full size.
        channels: C of equations 4 and 5, 128 in the paper.
        bound: how the noise is kept within epsilon; the paper's is the clip.
        two_way: False leaves f alone; both noises are then its.
    """

    def __init__(self, base: int, channels: int, bound: Bound, two_way: bool = True) -> None:
        super().__init__()
        self.bound: Bound = bound
        self.two_way = two_way
        self.f = UNet(3, 3, base)
        if not two_way:
            return
        self.g1 = UNet(3, channels, base)
        self.g_n = NoiseEncoder(channels, base)
        self.g2 = UNet(2 * channels + 3, 3, base)

    def limit(self, raw: Tensor, epsilon: float) -> Tensor:
        """Raw outputs, in units of epsilon, to noise within [-epsilon, epsilon]."""
        return epsilon * (clip(raw) if self.bound == "clip" else raw.tanh())

    def forward(self, x: Tensor, epsilon: float) -> Noises:
        x = x.contiguous(memory_format=torch.channels_last)
        basic = self.limit(self.f(x), epsilon)
        if not self.two_way:
            return Noises(basic, basic)
        # psi is trained by (10) alone: eta_b enters g detached.
        fixed = basic.detach()
        z = self.g1(x)
        repeated = self.g_n(fixed).expand(-1, -1, *z.shape[-2:])
        robust = self.limit(self.g2(torch.cat([z, repeated, fixed], dim=1)), epsilon)
        return Noises(basic, robust)


class AdversarialNet(nn.Module):
    """q: a protected picture to one whose protection is undone, clipped to [-1, 1] (equation 8)."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.net = nn.Sequential(conv_block(3, base), UNet(base, 3, base))

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.net(x.contiguous(memory_format=torch.channels_last))
        return (x + correction).clamp(-1, 1)
