"""dlib's face recogniser (King 2017), a ResNet, as ``@vladmandic/face-api`` runs it: a face to a 128-d descriptor.

One thing is ours: pixels that the picture has lost are filled in before it looks, because to the original a face under
black pixels is nobody's. Of any other picture it makes what the original makes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.face_networks.lost_pixels import fill_lost_pixels
from arsbench.face_networks.parts import prepare

SIZE = 150


class ScaledConv(nn.Conv2d):
    """A convolution, then a factor and an offset per channel."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(n_in, n_out, kernel, stride, padding)
        self.factor = nn.Parameter(torch.ones(n_out))
        self.offset = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        weight = self.weight * self.factor[:, None, None, None]
        return F.conv2d(x, weight, self.bias * self.factor + self.offset, self.stride, self.padding)


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ScaledConv(width, width, 3, padding=1)
        self.conv2 = ScaledConv(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + x)


class ResidualDown(nn.Module):
    """Halves the size; the skip is an average pooling, and whatever it has more of, zeros make up for."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1 = ScaledConv(n_in, n_out, 3, stride=2)
        self.conv2 = ScaledConv(n_out, n_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out, skip = self.conv2(F.relu(self.conv1(x))), F.avg_pool2d(x, 2)
        out = F.pad(out, (0, skip.shape[3] - out.shape[3], 0, skip.shape[2] - out.shape[2]))
        skip = F.pad(skip, (0, 0, 0, 0, 0, out.shape[1] - skip.shape[1]))
        return F.relu(out + skip)


class FaceRecogniser(nn.Module):
    """``[B, 3, H, W]`` in [-1, 1] -> descriptors ``[B, 128]``; their Euclidean distance tells people apart.

    Any size: lost pixels are filled by :func:`arsbench.face_networks.lost_pixels.fill_lost_pixels`, then it is padded
    to a square and resized to 150 pixels by :func:`arsbench.face_networks.parts.resize`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = ScaledConv(3, 32, 7, stride=2)
        self.blocks = nn.ModuleDict(
            {
                **{f"conv32_{i}": Residual(32) for i in (1, 2, 3)},
                "conv64_down": ResidualDown(32, 64),
                **{f"conv64_{i}": Residual(64) for i in (1, 2, 3)},
                "conv128_down": ResidualDown(64, 128),
                **{f"conv128_{i}": Residual(128) for i in (1, 2)},
                "conv256_down": ResidualDown(128, 256),
                **{f"conv256_{i}": Residual(256) for i in (1, 2)},
                "conv256_down_out": ResidualDown(256, 256),
            }
        )
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv32_down(prepare(fill_lost_pixels(x), SIZE))), 3, 2)
        for block in self.blocks.values():
            x = block(x)
        descriptors: Tensor = self.fc(x.mean((2, 3)))
        return descriptors
