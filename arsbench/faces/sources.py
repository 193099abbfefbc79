"""Where images come from, as one interface: an ordered list of delivered faces, read batch by batch."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arsbench.faces.delivery import from_bytes

Pixels = NDArray[np.uint8]


def pixel_digest(pixels: Pixels) -> str:
    """SHA-256 over the shape and the 8-bit pixels ``[H, W, 3]`` of a picture."""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


class FaceSource(ABC):
    """A fixed, ordered list of delivered faces, of which only the batch asked for is in memory.

    Attributes:
        keys: the faces' keys, each once.
        size: height and width in pixels.
    """

    keys: list[str]
    size: int

    def __len__(self) -> int:
        return len(self.keys)

    @abstractmethod
    def pixels(self, index: int) -> Pixels:
        """The 8-bit pixels ``[H, W, 3]`` of face number ``index``."""

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Delivered faces ``[len(indices), 3, size, size]``, float32 in [-1, 1]."""
        return from_bytes(torch.from_numpy(np.stack([self.pixels(i) for i in indices])))

    def digest(self, index: int) -> str:
        """SHA-256 of the face's 8-bit pixels: what the content key of its cells is made of."""
        return pixel_digest(self.pixels(index))
