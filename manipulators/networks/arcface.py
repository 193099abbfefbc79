"""ArcFace, the identity encoder of the official SimSwap: an improved residual network of 100 layers (Deng et al. 2019).

Parameter names are those of the official checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

OFFICIAL_BLOCKS = (3, 4, 23, 3)
WIDTHS = (64, 128, 256, 512)
MAP = 7
"""Height and width of the last feature map of a picture of 112 pixels."""


class SqueezeExcitation(nn.Module):
    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(width, width // reduction), nn.PReLU(), nn.Linear(width // reduction, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.fc(x.mean((2, 3)))[:, :, None, None]
        return out


class IRBlock(nn.Module):
    """Normalisation first, two convolutions, squeeze-and-excitation; one PReLU serves both activations."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width_in, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width_in)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if stride != 1 or width_in != width
            else None
        )
        self.se = SqueezeExcitation(width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        h = self.se(self.bn2(self.conv2(h)))
        out: Tensor = self.prelu(h + (x if self.downsample is None else self.downsample(x)))
        return out


class ArcFace(nn.Module):
    """``[B, 3, 112, 112]`` -> identities ``[B, 512]``, not normalised. The first convolution pads nothing.

    Args:
        blocks: residual blocks of the four stages.
    """

    def __init__(self, blocks: Sequence[int] = OFFICIAL_BLOCKS) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = nn.PReLU()
        self.maxpool = nn.MaxPool2d(2)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                *(
                    IRBlock(WIDTHS[max(stage - 1, 0)] if i == 0 else width, width, 2 if stage and i == 0 else 1)
                    for i in range(count)
                )
            )
            for stage, (width, count) in enumerate(zip(WIDTHS, blocks, strict=True))
        )
        self.bn2 = nn.BatchNorm2d(WIDTHS[-1])
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(WIDTHS[-1] * MAP * MAP, 512)
        self.bn3 = nn.BatchNorm1d(512)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.prelu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        identities: Tensor = self.bn3(self.fc(torch.flatten(self.dropout(self.bn2(x)), 1)))
        return identities
