"""The age and gender network of ``@vladmandic/face-api``: a small Xception (Chollet 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.face_networks.parts import SameConv, SeparableConv, pad_same, prepare

SIZE = 112


class ReductionBlock(nn.Module):
    """Halves the size: two separable layers and a max pooling, beside a 1 x 1 convolution of stride 2."""

    def __init__(self, n_in: int, n_out: int, activate_input: bool = True) -> None:
        super().__init__()
        self.activate_input = activate_input
        self.separable_conv0 = SeparableConv(n_in, n_out)
        self.separable_conv1 = SeparableConv(n_out, n_out)
        self.expansion_conv = SameConv(n_in, n_out, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        out = self.separable_conv0(F.relu(x) if self.activate_input else x)
        out = self.separable_conv1(F.relu(out))
        out = F.max_pool2d(pad_same(out, 3, 2, value=-torch.inf), 3, 2)
        summed: Tensor = out + self.expansion_conv(x)
        return summed


class MainBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SeparableConv(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for layer in self.layers:
            out = layer(F.relu(out))
        return out + x


class FaceAge(nn.Module):
    """``[B, 3, H, W]`` in [-1, 1] -> age in years ``[B]``; any size, resized to 112 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = SameConv(3, 32, 3, 2)
        self.blocks = nn.Sequential(
            ReductionBlock(32, 64, activate_input=False),
            ReductionBlock(64, 128),
            MainBlock(128),
            MainBlock(128),
            ReductionBlock(128, 256),
        )
        self.separable_conv = SeparableConv(256, 512)
        self.age, self.gender = nn.Linear(512, 1), nn.Linear(512, 2)

    def features(self, x: Tensor) -> Tensor:
        """``[B, 512]``."""
        x = self.blocks(F.relu(self.conv_in(prepare(x, SIZE))))
        return F.avg_pool2d(F.relu(self.separable_conv(x)), 7, 2).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        age: Tensor = self.age(self.features(x))
        return age[:, 0]

    def male_probability(self, x: Tensor) -> Tensor:
        """``[B]`` in [0, 1]."""
        return torch.softmax(self.gender(self.features(x)), dim=1)[:, 0]
