"""TAFIM's protection, attention and fusion networks (Aneja et al. 2022): U-Nets of pix2pix (Isola et al. 2017).

Parameter names are those of the official checkpoint.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.protectors.networks.bounds import clip

WIDTH = 64
"""Channels after the first halving of the official networks; eight times as many after the fourth."""


def _down(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 4, 2, 1)


def _up(n_in: int, n_out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(n_in, n_out, 4, 2, 1)


def _norm(width: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(width)


class Level(nn.Module):
    """One halving and its doubling around what is inside; returns its input beside its output.

    The input comes back through the leaky ReLU that it goes in by: the official activation works in place.
    """

    def __init__(self, outer: int, inner: int, inside: Level | None, dropout: bool = False) -> None:
        super().__init__()
        if inside is None:
            layers = [nn.LeakyReLU(0.2), _down(outer, inner), nn.ReLU(), _up(inner, outer), _norm(outer)]
        else:
            layers = [nn.LeakyReLU(0.2), _down(outer, inner), _norm(inner), inside]
            layers += [nn.ReLU(), _up(2 * inner, outer), _norm(outer), *([nn.Dropout(0.5)] if dropout else [])]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.leaky_relu(x, 0.2), self.model(x)], dim=1)


class Outermost(nn.Module):
    def __init__(self, n_in: int, n_out: int, inside: Level, head: nn.Module, width: int) -> None:
        super().__init__()
        self.model = nn.Sequential(_down(n_in, width), inside, nn.ReLU(), _up(2 * width, n_out), head)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


class TafimUNet(nn.Module):
    """``[B, n_in, H, W]`` -> ``[B, n_out, H, W]``; sides are multiples of 64.

    Args:
        n_in: 6 of the protection network: the picture and the global noise.
        n_out: 3 of the protection network: the noise.
        head: what the output goes through, tanh or, of the attention, ReLU.
        width: channels after the first halving.
    """

    def __init__(self, n_in: int = 6, n_out: int = 3, head: type[nn.Module] = nn.Tanh, width: int = WIDTH) -> None:
        super().__init__()
        widest = 8 * width
        level = Level(widest, widest, None)
        level = Level(widest, widest, level, dropout=True)
        for outer in (4 * width, 2 * width, width):
            level = Level(outer, 2 * outer, level)
        self.model = Outermost(n_in, n_out, level, head(), width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


class TafimNoises(NamedTuple):
    """What one forward pass gives, each within [-epsilon, epsilon].

    Attributes:
        pattern: the global noise, one for all pictures, ``[B, 3, H, W]``.
        noise: the picture's own, ``[B, 3, H, W]``; the protection.
    """

    pattern: Tensor
    noise: Tensor


class TafimNetwork(nn.Module):
    """x ``[B, 3, H, W]`` in [-1, 1] -> the global noise and the picture's own, both learned.

    Args:
        size: H and W, a multiple of 64.
        width: channels after the first halving, 64 in the official network.
    """

    def __init__(self, size: int, width: int = WIDTH) -> None:
        super().__init__()
        self.pattern = nn.Parameter(torch.rand(3, size, size))
        self.unet = TafimUNet(width=width)
        for layer in self.unet.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor, epsilon: float) -> TafimNoises:
        pattern = self.pattern.expand(len(x), -1, -1, -1)
        noise = self.unet(torch.cat([x, pattern.to(x.dtype)], dim=1))
        return TafimNoises(*(epsilon * clip(raw / epsilon) for raw in (pattern, noise)))
