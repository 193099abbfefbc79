"""What codecs share: a picture is written as 8 bit, read again, and has no gradient of its own."""

from __future__ import annotations

import functools
import io
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from arsbench.contracts import Perturbation

Pixels = NDArray[np.uint8]
SMALL = 3 * 128 * 128
"""Values of a picture up to which most of its time is Python's, which threads would wait for."""


class Codec(Perturbation):
    """A perturbation of 8-bit pictures, one by one, large ones in as many threads as torch uses."""

    @abstractmethod
    def code(self, pixels: Pixels, parameter: float) -> Pixels:
        """uint8 pixels ``[H, W, 3]`` -> what is left of them, same shape."""

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> what the codec leaves of it, 8 bit; without a gradient."""
        rounded = x.detach().clamp(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8)
        pixels = rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy()

        def code_part(part: Pixels) -> list[Pixels]:
            return [self.code(image, parameter) for image in part]

        at_once = torch.get_num_threads() if pixels[0].size > SMALL else 1
        parts = np.array_split(pixels, min(len(pixels), at_once))
        coded = [image for part in _threads().map(code_part, parts) for image in part]
        return torch.from_numpy(np.stack(coded)).permute(0, 3, 1, 2).contiguous().to(x).div_(127.5).sub_(1)

    def differentiable(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """The same pictures, with the gradient of one that was not touched (Athalye et al. 2018, BPDA)."""
        return x + (self.perturb(x, parameter, keys) - x).detach()


def written_and_read(pixels: Pixels, format: str, **options: Any) -> Pixels:
    """uint8 pixels ``[H, W, 3]`` -> the same after a file of Pillow's ``format``."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    buffer.seek(0)
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"))


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """They let go of Python's lock while they work."""
    return ThreadPoolExecutor(thread_name_prefix="codec")
