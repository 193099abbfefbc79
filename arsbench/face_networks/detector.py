"""The tiny face detector of ``@vladmandic/face-api``: a picture to boxes of faces, by a small YOLO v2 (Redmon 2016)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.face_networks.parts import SeparableConv, pad_same, resize

SIZE = 416
"""Side of the square that the original looks at by default; any multiple of 32 will do."""
MEAN_RGB = (117.001, 114.697, 97.404)
"""Subtracted from values of 0 to 255 before they are divided by 255."""
ANCHORS = ((1.603231, 2.094468), (6.041143, 7.080126), (2.882459, 3.518061), (4.266906, 5.178857), (9.041765, 10.66308))
"""Width and height of the five boxes that each cell starts from, in cells."""
LEAK = 0.1
LEAST_SCORE = 0.5
MOST_OVERLAP = 0.4
"""Of two boxes that share more of their union than this, the one with the lower score is dropped."""


class Detection(NamedTuple):
    """A face in a picture, in pixels from its upper left corner; a box may stand out over the border."""

    left: float
    top: float
    right: float
    bottom: float
    score: float


class FaceDetector(nn.Module):
    """``[B, 3, S, S]`` in [-1, 1], S a multiple of 32 -> raw boxes and scores ``[B, S / 32, S / 32, 5 anchors, 5]``."""

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 64, 128, 256, 512)
        self.conv0 = nn.Conv2d(3, widths[0], 3)
        self.later = nn.ModuleList(SeparableConv(widths[i], widths[i + 1]) for i in range(len(widths) - 1))
        self.conv8 = nn.Conv2d(widths[-1], len(ANCHORS) * 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = torch.tensor(MEAN_RGB, device=x.device)[:, None, None]
        x = (((x + 1) * 127.5 - mean) / 255).contiguous(memory_format=torch.channels_last)
        x = F.leaky_relu(self.conv0(x), LEAK)
        for layer in self.later:
            x = F.leaky_relu(layer(F.max_pool2d(pad_same(x, 2, 2, value=-torch.inf), 2, 2)), LEAK)
        x = self.conv8(F.max_pool2d(pad_same(x, 2, 1, value=-torch.inf), 2, 1))
        raw: Tensor = x.permute(0, 2, 3, 1)
        return raw.reshape(*raw.shape[:3], len(ANCHORS), 5)

    @torch.no_grad()
    def detect(self, x: Tensor, size: int = SIZE, least_score: float = LEAST_SCORE) -> list[Detection]:
        """The faces in one picture, the most certain first.

        Args:
            x: ``[3, H, W]`` in [-1, 1].
            size: side of the square that the picture is resized to, after it was padded with black.
            least_score: in [0, 1].
        """
        height, width = x.shape[-2:]
        side = max(height, width)
        square = F.pad(x[None], (0, side - width, 0, side - height), value=-1.0)
        raw = self(resize(square, size))[0].double()
        cells = raw.shape[0]
        scores = torch.sigmoid(raw[..., 4])
        rows, columns, anchors = (scores > least_score).nonzero(as_tuple=True)
        found = raw[rows, columns, anchors]
        middles = torch.stack([columns, rows], 1) + torch.sigmoid(found[:, :2])
        sizes = torch.exp(found[:, 2:4]) * torch.tensor(ANCHORS, dtype=raw.dtype, device=raw.device)[anchors]
        # As in the original, with the picture's sides rounded after the resizing.
        scale = torch.tensor([v * size / math.floor(v * size / side + 0.5) for v in (width, height)] * 2).to(raw)
        corners = torch.cat([middles - sizes / 2, middles + sizes / 2], 1) * scale / cells
        values = torch.cat([corners, scores[rows, columns, anchors][:, None]], 1)
        detections = [Detection(*row) for row in values.tolist()]
        return without_overlaps(sorted(detections, key=lambda d: -d.score))


def without_overlaps(detections: list[Detection]) -> list[Detection]:
    """Those of ``detections``, the most certain first, that overlap no better one by more than :data:`MOST_OVERLAP`."""
    kept: list[Detection] = []
    for candidate in detections:
        if all(overlap(candidate, other) <= MOST_OVERLAP for other in kept):
            kept.append(candidate)
    return kept


def overlap(a: Detection, b: Detection) -> float:
    """The share of the union of two boxes that both cover."""
    width = max(0.0, min(a.right, b.right) - max(a.left, b.left))
    height = max(0.0, min(a.bottom, b.bottom) - max(a.top, b.top))
    both = width * height
    areas = sum((box.right - box.left) * (box.bottom - box.top) for box in (a, b))
    return both / (areas - both) if areas > both else 0.0
