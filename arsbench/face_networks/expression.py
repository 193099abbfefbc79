"""The expression network of ``@vladmandic/face-api``: a face to seven expressions, by densely summed layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.face_networks.parts import SameConv, SeparableConv, prepare

SIZE = 112
CLASSES = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")


class DenseBlock(nn.Module):
    """Halves the size, then three layers, each given the sum of all before it."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv0 = SameConv(3, n_out, 3, 2) if n_in == 3 else SeparableConv(n_in, n_out, 2)
        self.later = nn.ModuleList(SeparableConv(n_out, n_out) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        total = h = F.relu(self.conv0(x))
        for layer in self.later:
            total = total + layer(h)
            h = F.relu(total)
        return h


class FaceExpression(nn.Module):
    """``[B, 3, H, W]`` in [-1, 1] -> logits ``[B, 7]`` of :data:`CLASSES`; any size, resized to 112 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.ModuleList([DenseBlock(3, 32), DenseBlock(32, 64), DenseBlock(64, 128), DenseBlock(128, 256)])
        self.fc = nn.Linear(256, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = prepare(x, SIZE)
        for block in self.dense:
            x = block(x)
        logits: Tensor = self.fc(F.avg_pool2d(x, 7, 2).flatten(1))
        return logits

    def probabilities(self, x: Tensor) -> Tensor:
        """``[B, 7]``, rows summing to 1."""
        return torch.softmax(self(x), dim=1)
