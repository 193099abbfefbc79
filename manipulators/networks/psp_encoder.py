"""The IR-SE encoder of pSp: an image to one style code per decoder layer, coarse, middle and fine.

Richardson et al. 2021, section 3 and figure 2. Blocks are the improved residual units of ArcFace (Deng et al. 2019)
with squeeze-and-excitation (Hu et al. 2018). Parameter names are those of the official checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, cat, nn, stack
from torch.nn.utils.fusion import fuse_conv_bn_eval

from arsbench.manipulators.networks.stylegan2 import EqualLinear


class Stage(NamedTuple):
    """One resolution: ``blocks`` residual units, the first of stride 2 and going from ``width_in`` to ``width``.

    Between the two convolutions of a unit there are ``inner`` channels; ``width`` unless given.
    """

    width_in: int
    width: int
    blocks: int
    inner: int | None = None


OFFICIAL_STAGES = (Stage(64, 64, 3), Stage(64, 128, 4), Stage(128, 256, 14), Stage(256, 512, 3))


class SqueezeExcitation(nn.Module):
    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(width // reduction, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, 1)
        out: Tensor = x * self.fc2(F.relu(self.fc1(pooled))).sigmoid()
        return out


class BottleneckIRSE(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int, reduction: int, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or width
        if width_in == width:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width_in),
            nn.Conv2d(width_in, inner, 3, 1, 1, bias=False),
            nn.PReLU(inner),
            nn.Conv2d(inner, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            SqueezeExcitation(width, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut_layer(x) + self.res_layer(x)
        return out


class StyleHead(nn.Module):
    """A feature map ``[B, width, size, size]`` to one code ``[B, style]``, by stride-2 convolutions down to 1 x 1."""

    def __init__(self, width: int, hidden: int, style: int, size: int) -> None:
        super().__init__()
        self.style = style
        widths = [width] + [hidden] * (int(math.log2(size)) - 1) + [style]
        layers: list[nn.Module] = []
        for w_in, w_out in pairwise(widths):
            layers += [nn.Conv2d(w_in, w_out, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(style, style)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.convs(x).view(-1, self.style))
        return out


class PspEncoder(nn.Module):
    """Images ``[B, 3, size, size]`` in [-1, 1] -> codes ``[B, n_codes, style]``, without the average code.

    Args:
        size: input height and width; four stages halve it each.
        n_codes: rows of w+; rows 0-2 are read from the last stage, 3-6 from the third, the rest from the second.
        style: numbers per code.
        stem: channels of the first convolution.
        stages: the four stages of the body.
        reduction: of the squeeze-and-excitation.
        hidden: channels inside the style heads; ``style`` unless given.
    """

    coarse, middle = 3, 7

    def __init__(
        self,
        size: int = 256,
        n_codes: int = 18,
        style: int = 512,
        stem: int = 64,
        stages: Sequence[Stage] = OFFICIAL_STAGES,
        reduction: int = 16,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.PReLU(stem))
        blocks: list[nn.Module] = []
        ends: list[int] = []
        for stage in stages:
            blocks += [
                BottleneckIRSE(
                    stage.width_in if i == 0 else stage.width, stage.width, 2 if i == 0 else 1, reduction, stage.inner
                )
                for i in range(stage.blocks)
            ]
            ends.append(len(blocks))
        self.body = nn.Sequential(*blocks)
        self.ends = tuple(ends)
        sizes = (
            [size // 16] * self.coarse
            + [size // 8] * (self.middle - self.coarse)
            + [size // 4] * (n_codes - self.middle)
        )
        width = stages[-1].width
        self.styles = nn.ModuleList(StyleHead(width, hidden or style, style, s) for s in sizes)
        self.latlayer1 = nn.Conv2d(stages[2].width, width, 1)
        self.latlayer2 = nn.Conv2d(stages[1].width, width, 1)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The pyramid, coarsest first: three maps of the last stage's width."""
        x = self.input_layer(x)
        taps = []
        for i, block in enumerate(self.body, start=1):
            x = block(x)
            if i in self.ends:
                taps.append(x)
        _, c1, c2, c3 = taps
        p2 = _upsample_add(c3, self.latlayer1(c2))
        p1 = _upsample_add(p2, self.latlayer2(c1))
        return c3, p2, p1

    def read(self, features: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """What the heads make of the pyramid, one row each, ``[B, n_codes, style]``."""
        coarse, middle, fine = features
        maps = (
            [coarse] * self.coarse + [middle] * (self.middle - self.coarse) + [fine] * (len(self.styles) - self.middle)
        )
        return stack([head(m) for head, m in zip(self.styles, maps, strict=True)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.features(x))


class E4eEncoder(PspEncoder):
    """The same network read the e4e way: the first head gives one w for all rows, the others each row's step from it.

    Tov et al. 2021, section 4; all stages on, as after its training.
    """

    def read(self, features: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """w in the first row, w + step in the others."""
        rows = super().read(features)
        return cat([rows[:, :1], rows[:, :1] + rows[:, 1:]], dim=1)


def fuse_batch_norms(encoder: PspEncoder) -> None:
    """Works the batch normalisations that follow a convolution into it, in place; for evaluation only.

    Those before one stay: its zero padding would have to become theirs.
    """
    for layers in encoder.modules():
        if isinstance(layers, nn.Sequential):
            for i, (conv, norm) in enumerate(pairwise(layers)):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    layers[i], layers[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def _upsample_add(x: Tensor, y: Tensor) -> Tensor:
    return F.interpolate(x, size=y.shape[-2:], mode="bilinear", align_corners=True) + y
