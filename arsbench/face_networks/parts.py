"""What the three face networks share: how a picture is prepared, TensorFlow's padding, separable convolutions.

The networks are those of the npm package ``@vladmandic/face-api`` 1.7.15; what they compute was read from it and is
checked against it by tests/manipulators/test_face_networks.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN_RGB = (122.782, 117.001, 104.298)
"""Subtracted from values of 0 to 255 before they are divided by 255."""


def prepare(x: Tensor, size: int) -> Tensor:
    """``x`` [B, 3, H, W] in [-1, 1] -> [B, 3, size, size]: padded to a square with black, resized, mean subtracted."""
    height, width = x.shape[-2:]
    missing = abs(height - width)
    after = (missing + 1) // 2
    pad = (missing - after, after)
    x = F.pad(x, (*pad, 0, 0) if height > width else (0, 0, *pad), value=-1.0) if missing else x
    mean = torch.tensor(MEAN_RGB, device=x.device)[:, None, None]
    prepared = ((resize(x, size) + 1) * 127.5 - mean) / 255
    return prepared.contiguous(memory_format=torch.channels_last)


def resize(x: Tensor, size: int) -> Tensor:
    """Bilinear as TensorFlow's default: neither corners nor pixel centres aligned, position i is read at i in / out."""
    if x.shape[-2:] == (size, size):
        return x
    rows, columns = (_interpolation(side, size, x) for side in x.shape[-2:])
    return rows.to(x) @ x @ columns.T.to(x)


def _interpolation(side: int, size: int, like: Tensor) -> Tensor:
    at = torch.arange(size, device=like.device) * (side / size)
    low = at.long().clamp(max=side - 1)
    high = (low + 1).clamp(max=side - 1)
    share = (at - low)[:, None]
    identity = torch.eye(side, device=like.device)
    return identity[low] * (1 - share) + identity[high] * share


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """TensorFlow's 'same' padding, whose odd pixel goes below and to the right."""
    pads: list[int] = []
    for side in (x.shape[-1], x.shape[-2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's 'same' padding."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad_same(x, self.kernel_size[0], self.stride[0]))


class SeparableConv(nn.Module):
    """A 3 x 3 convolution per channel, then a 1 x 1 across channels with bias."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = SameConv(n_in, n_in, 3, stride, groups=n_in, bias=False)
        self.pointwise = nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.depthwise(x))
        return out
