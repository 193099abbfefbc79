"""The distortions of DeeperForensics-1.0 as its code computes them (Jiang et al. 2020, perturbation/distortions.py).

Where they differ from the six of the same names: contrast multiplies and so only darkens, what it calls JPEG only
resizes, values are truncated to whole numbers of 255, or rounded where OpenCV filters them. Its video codec is left
out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from kornia.color import rgb_to_grayscale
from torch import Tensor
from torch.nn.functional import interpolate

from arsbench.contracts import Levels, Perturbation
from arsbench.draws import generator
from arsbench.perturbations.gaussian_blur import blurred
from arsbench.perturbations.gaussian_noise import normal

SIDE = 256
"""The pictures that its blocks are counted and sized for."""
BLOCK = 8
GREY = 128.0


class _Distortion(Perturbation):
    """Works on values from 0 to 255; what comes out is truncated by numpy, or rounded by OpenCV."""

    rounds: ClassVar[bool] = False

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> whole numbers of 255 on the same range; gradients pass the truncation."""
        distorted = self.distort(((x + 1) * 127.5).contiguous(), parameter, keys).clamp(0, 255)
        return (_rounded(distorted) if self.rounds else _truncated(distorted)) / 127.5 - 1

    @abstractmethod
    def distort(self, values: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``values`` [B, 3, H, W] from 0 to 255 -> distorted."""


def _rounded(values: Tensor) -> Tensor:
    return values + (values.round() - values).detach()


def _truncated(values: Tensor) -> Tensor:
    # A value that is whole but for a rounding error is not truncated to the one below.
    return values + ((values + 1e-3).floor() - values).detach()


class ColorSaturation(_Distortion):
    """CS: the chroma of YCbCr times the parameter."""

    name = "df_color_saturation"
    levels: ClassVar[Levels] = (0.4, 0.3, 0.2, 0.1, 0.0)
    thread_safe: ClassVar[bool] = True

    def distort(self, values: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``values`` [B, 3, H, W] from 0 to 255 -> less coloured."""
        luma = rgb_to_grayscale(values)
        return luma + parameter * (values - luma)


class ColorContrast(_Distortion):
    """CC: every value times the parameter."""

    name = "df_color_contrast"
    levels: ClassVar[Levels] = (0.85, 0.725, 0.6, 0.475, 0.35)
    thread_safe: ClassVar[bool] = True

    def distort(self, values: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``values`` [B, 3, H, W] from 0 to 255 -> darker."""
        return values * parameter


class BlockWise(_Distortion):
    """BW: as many grey blocks of 8 x 8 pixels as the parameter says, for each 256 pixels of the shorter side.

    Smaller pictures, of which its code would change nothing, get as many, smaller in proportion.
    """

    name = "df_block_wise"
    levels: ClassVar[Levels] = (16, 32, 48, 64, 80)
    thread_safe: ClassVar[bool] = True

    def distort(self, values: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``values`` [B, 3, H, W] from 0 to 255 -> with grey blocks, at places drawn from the image's key."""
        height, width = values.shape[-2:]
        block = min(BLOCK, max(1, BLOCK * min(height, width) // SIDE))
        number = round(parameter) * max(1, min(height, width) // SIDE)
        grey = torch.zeros(len(keys), 1, height, width, dtype=torch.bool)
        for mask, key in zip(grey, keys, strict=True):
            places = torch.rand(number, 2, generator=generator(key, "perturbation/df_block_wise"))
            for row, column in (places * torch.tensor([height - block, width - block]).clamp(min=1)).long().tolist():
                mask[:, row : row + block, column : column + block] = True
        return torch.where(grey.to(values.device), GREY, values)


class GaussianNoiseColor(_Distortion):
    """GNC: normal noise on YCbCr in [0, 1]; the parameter is its variance."""

    name = "df_gaussian_noise"
    levels: ClassVar[Levels] = (0.001, 0.002, 0.005, 0.01, 0.05)
    thread_safe: ClassVar[bool] = True

    def distort(self, values: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``values`` [B, 3, H, W] from 0 to 255 -> noisy."""
        noise = 255 * parameter**0.5 * normal(keys, values.shape[1:], "perturbation/df_gaussian_noise").to(values)
        y, cb, cr = noise[:, :1], noise[:, 1:2], noise[:, 2:]
        return values + torch.cat([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 1)


class GaussianBlurKernel(_Distortion):
    """GB: a Gaussian kernel of as many pixels as the parameter says, sigma a sixth of that."""

    name = "df_gaussian_blur"
    levels: ClassVar[Levels] = (7, 9, 13, 17, 21)
    rounds: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def distort(self, values: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``values`` [B, 3, H, W] from 0 to 255 -> blurred, the border reflected."""
        return blurred(values, round(parameter), parameter / 6)


class Jpeg(_Distortion):
    """What it calls JPEG: down by the parameter and back, bilinear, without antialiasing."""

    name = "df_jpeg"
    levels: ClassVar[Levels] = (2, 3, 4, 5, 6)
    rounds: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def distort(self, values: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``values`` [B, 3, H, W] from 0 to 255 -> coarser."""
        height, width = values.shape[-2:]
        small = (max(1, int(height / parameter)), max(1, int(width / parameter)))
        return interpolate(_rounded(interpolate(values, small, mode="bilinear")), (height, width), mode="bilinear")
