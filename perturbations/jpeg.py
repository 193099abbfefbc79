"""JPEG compression: a real codec for evaluation, and a differentiable twin for training and attacks."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from arsbench.contracts import Levels
from arsbench.perturbations.codec import Codec, Pixels

HALF_UP = 0.5 + 1e-4
"""libjpeg rounds coefficients half away from zero; the excess keeps ties up that float32 puts just below."""
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation of Y at quality 50 (ITU-T T.81, Table K.1)."""
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Quantisation of Cb and Cr at quality 50 (ITU-T T.81, Table K.2)."""


class Jpeg(Codec):
    """JPEG with 4:2:0 chroma at the quality that the parameter gives, as Pillow's libjpeg writes and reads it."""

    name = "jpeg"
    levels: ClassVar[Levels] = (90, 75, 60, 45, 30)
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def code(self, pixels: Pixels, parameter: float) -> Pixels:
        """uint8 pixels ``[H, W, 3]`` -> what the codec leaves of them."""
        return decode(encode(pixels, round(parameter)))

    def differentiable(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """The twin: libjpeg's steps as tensor operations; it rounds like the codec, and gradients pass the rounding."""
        quality, (height, width) = round(parameter), x.shape[-2:]
        y, chroma = _to_ycc(_round((x + 1) * 127.5))
        chroma = _halved(chroma)
        small = chroma.shape[-2], math.ceil(width / 2)
        y = _coded(_padded(y, 8, 8), _table(LUMINANCE, quality, x.device))[..., :height, :width]
        chroma = _coded(_padded(chroma, 8, 8), _table(CHROMINANCE, quality, x.device))[..., : small[0], : small[1]]
        # libjpeg's "fancy upsampling" is a triangle filter, which is bilinear interpolation.
        chroma = _round(interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width])
        return (_round(_to_rgb(y, chroma)) / 127.5 - 1).clamp(-1, 1)


def encode(pixels: Pixels, quality: int) -> bytes:
    """uint8 pixels ``[H, W, 3]`` -> the bytes of a JPEG file with 4:2:0 chroma."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def decode(data: bytes) -> Pixels:
    """The bytes of a JPEG file -> uint8 pixels ``[H, W, 3]``."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


# --- the twin's steps -----------------------------------------------------------------------------------------------


def _to_ycc(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """RGB in [0, 255] -> Y ``[B, 1, H, W]`` and Cb, Cr ``[B, 2, H, W]``, whole numbers from -128 (JFIF, less 128)."""
    r, g, b = rgb[:, :1], rgb[:, 1:2], rgb[:, 2:]
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return _round(y - 128), _round(torch.cat([(b - y) / 1.772, (r - y) / 1.402], 1))


def _to_rgb(y: Tensor, chroma: Tensor) -> Tensor:
    cb, cr = chroma[:, :1], chroma[:, 1:]
    y = y + 128
    return torch.cat([y + 1.402 * cr, y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587, y + 1.772 * cb], 1)


def _halved(chroma: Tensor) -> Tensor:
    """4:2:0: means of 2 x 2 pixels, rounded up and down in turn from column to column as libjpeg does.

    It repeats the last column up to a whole block before this step, and the last row only up to an even number.
    """
    means = avg_pool2d(_padded(chroma, 2, 16), 2)
    bias = (torch.arange(means.shape[-1], device=means.device) % 2 + 1) / 4
    return _straight_through(means, (means + bias).floor())


def _padded(x: Tensor, rows: int, columns: int) -> Tensor:
    """Repeats the last row and column up to the next multiples."""
    down, right = -x.shape[-2] % rows, -x.shape[-1] % columns
    return pad(x, (0, right, 0, down), mode="replicate") if down or right else x


def _coded(x: Tensor, table: Tensor) -> Tensor:
    """What quantisation leaves of planes ``[B, C, 8 h, 8 w]``: DCT of each block, rounding to the table, and back."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4).reshape(-1, 64)
    basis = _dct_basis(x.device).to(x)
    coefficients = (blocks @ basis) / table
    coefficients = _straight_through(coefficients, (coefficients + coefficients.sign() * HALF_UP).trunc()) * table
    blocks = (coefficients @ basis.mT).reshape(batch, channels, height // 8, width // 8, 8, 8)
    return _round(blocks.transpose(3, 4).reshape(batch, channels, height, width)).clamp(-128, 127)


def _round(x: Tensor) -> Tensor:
    return _straight_through(x, x.round())


def _straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """The value of ``rounded`` with the gradient of ``x``."""
    return x + (rounded - x).detach()


@functools.lru_cache(maxsize=4)
def _dct_basis(device: torch.device) -> Tensor:
    """The orthonormal 8 x 8 DCT-II of a flattened block, ``[64 pixels, 64 coefficients]``."""
    n = torch.arange(8, dtype=torch.float64)
    rows = torch.cos(math.pi / 8 * (n[None] + 0.5) * n[:, None]) / 2
    rows[0] /= math.sqrt(2)
    return torch.kron(rows, rows).mT.float().contiguous().to(device)


@functools.lru_cache(maxsize=256)
def _table(base: tuple[tuple[int, ...], ...], quality: int, device: torch.device) -> Tensor:
    """libjpeg's quantisation table for a quality from 1 to 100, ``[64]``."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    values = (torch.tensor(base).flatten() * scale + 50).div(100, rounding_mode="floor").clamp(1, 255)
    return values.float().to(device)
