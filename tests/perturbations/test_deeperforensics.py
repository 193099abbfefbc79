"""The distortions of DeeperForensics-1.0 against values computed by hand, from 0 to 255 as that code has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from arsbench.contracts import Perturbation
from arsbench.faces.delivery import from_bytes, to_bytes
from arsbench.perturbations import deeperforensics

Array = NDArray[np.float64]
DISTORTIONS = [
    deeperforensics.ColorSaturation,
    deeperforensics.ColorContrast,
    deeperforensics.BlockWise,
    deeperforensics.GaussianNoiseColor,
    deeperforensics.GaussianBlurKernel,
    deeperforensics.Jpeg,
]


def distorted(perturbation: type[Perturbation], values: Array, parameter: float, key: str = "a") -> Array:
    """What a picture ``[H, W, 3]`` of whole numbers becomes."""
    x = from_bytes(torch.from_numpy(values.astype(np.uint8))[None])
    return to_bytes(perturbation().perturb(x, parameter, [key]))[0].numpy().astype(float)


def picture(*colour: float, side: int = 4) -> Array:
    return np.broadcast_to(np.array(colour, dtype=float), (side, side, 3))


def test_saturation_scales_the_distance_from_the_luma_and_truncates() -> None:
    # Y = 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2; 0.4 of what is left: 154.52, 114.52, 94.52.
    assert distorted(deeperforensics.ColorSaturation, picture(200, 100, 50), 0.4)[0, 0].tolist() == [154, 114, 94]


def test_contrast_multiplies_and_so_only_darkens() -> None:
    assert distorted(deeperforensics.ColorContrast, picture(201, 20, 0), 0.35)[0, 0].tolist() == [70, 7, 0]


@pytest.mark.parametrize(("side", "times"), [(256, 1), (511, 1), (512, 2)])
def test_blocks_are_grey_8_pixels_wide_and_as_many_for_each_256_pixels(side: int, times: int) -> None:
    changed = distorted(deeperforensics.BlockWise, picture(10, 10, 10, side=side), 16)
    grey = (changed == 128).all(-1)
    assert set(np.unique(changed)) == {10, 128}
    # Each of the 64 pixels, but where two lie over each other; a picture of a quarter has an eighth of that.
    assert 0.8 * 16 * times * 64 < grey.sum() <= 16 * times * 64
    # Its code draws a corner up to side - 9: the last row and column are never reached.
    assert not grey[-1].any()
    assert not grey[:, -1].any()
    assert any(
        grey[i : i + 8, j : j + 8].all() and grey[i : i + 8, j : j + 8].shape == (8, 8) for i, j in np.argwhere(grey)
    )


def test_blocks_on_small_pictures_cover_the_same_share() -> None:
    small, large = (
        np.mean(
            [
                (distorted(deeperforensics.BlockWise, picture(0, 0, 0, side=side), 80, key) == 128).mean()
                for key in "abcd"
            ]
        )
        for side in (64, 256)
    )
    assert small == pytest.approx(large, rel=0.1)


@pytest.mark.parametrize("variance", [0.001, 0.005])
def test_noise_has_its_variance_on_luma_and_both_chromas(variance: float) -> None:
    r, g, b = (
        np.moveaxis(distorted(deeperforensics.GaussianNoiseColor, picture(128, 128, 128, side=200), variance), -1, 0)
        / 255
    )
    y = 0.299 * r + 0.587 * g + 0.114 * b
    for plane in (y, (b - y) / 1.772, (r - y) / 1.402):
        assert plane.var() == pytest.approx(variance, rel=0.04)
    assert 255 * y.mean() == pytest.approx(127.5, abs=0.3)  # truncated


def test_noise_comes_from_the_key_alone() -> None:
    first, again, other = (
        distorted(deeperforensics.GaussianNoiseColor, picture(99, 99, 99), 0.01, key) for key in "aab"
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("size", deeperforensics.GaussianBlurKernel.levels)
def test_blur_has_a_kernel_of_its_parameter_and_sigma_a_sixth_of_it(size: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (31, 24, 3)).astype(float)
    offsets = np.arange(size) - size // 2
    kernel = np.exp(-(offsets**2) / (2 * (size / 6) ** 2))
    wanted = values
    for axis in (0, 1):
        wanted = correlate1d(wanted, kernel / kernel.sum(), axis=axis, mode="mirror")
    assert np.abs(distorted(deeperforensics.GaussianBlurKernel, values, size) - wanted).max() <= 0.5 + 1e-3


def test_what_it_calls_jpeg_only_resizes_without_antialiasing() -> None:
    # By 3: the middle pixel of each three. By 2: the mean of each two. Back up: weights by distance, rounded.
    row = np.array([0, 80, 200, 120, 60, 254], dtype=float)
    values = np.broadcast_to(row[None, :, None], (6, 6, 3))
    third = distorted(deeperforensics.Jpeg, values, 3)[0, :, 0]
    assert third.tolist() == [80, 80, 73, 67, 60, 60]
    half = distorted(deeperforensics.Jpeg, values, 2)[0, :, 0]
    assert half.tolist() == [40, 70, 130, 159, 158, 157]


def test_the_levels_are_that_codes() -> None:
    assert {one.name: one.levels for one in DISTORTIONS} == {
        "df_color_saturation": (0.4, 0.3, 0.2, 0.1, 0.0),
        "df_color_contrast": (0.85, 0.725, 0.6, 0.475, 0.35),
        "df_block_wise": (16, 32, 48, 64, 80),
        "df_gaussian_noise": (0.001, 0.002, 0.005, 0.01, 0.05),
        "df_gaussian_blur": (7, 9, 13, 17, 21),
        "df_jpeg": (2, 3, 4, 5, 6),
    }
