"""Each perturbation against values computed by hand or by an independent library."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate1d
from torch import Tensor

from arsbench.faces.delivery import deliver, to_bytes
from arsbench.faces.shipped import load_faces
from arsbench.perturbations.contrast import Contrast
from arsbench.perturbations.downscale import Downscale
from arsbench.perturbations.dropout import Dropout
from arsbench.perturbations.gaussian_blur import GaussianBlur
from arsbench.perturbations.jpeg import Jpeg, decode, encode
from arsbench.perturbations.saturation import Saturation


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_saturation_0_is_the_grey_of_bt601_luma() -> None:
    x = torch.tensor([0.5, -0.25, 1.0])[None, :, None, None].expand(1, 3, 2, 2)
    luma = 0.299 * 0.5 + 0.587 * -0.25 + 0.114 * 1.0
    torch.testing.assert_close(Saturation().perturb(x, 0.0, ["a"]), torch.full((1, 3, 2, 2), luma))


def test_saturation_scales_the_chroma_of_pillows_ycbcr() -> None:
    x, _ = load_faces(n=1)
    before = np.asarray(Image.fromarray(to_bytes(x)[0].numpy()).convert("YCbCr"), dtype=float)
    after = to_bytes(Saturation().perturb(x, 0.4, ["a"]))[0].numpy()
    scaled = np.asarray(Image.fromarray(after).convert("YCbCr"), dtype=float)
    assert np.abs(scaled[..., 0] - before[..., 0]).max() <= 1
    assert np.abs((scaled - 128)[..., 1:] - 0.4 * (before - 128)[..., 1:]).max() <= 2


def test_contrast_draws_two_values_towards_their_mean() -> None:
    x = torch.full((1, 3, 4, 4), -0.5)
    x[..., 2:] = 0.9
    result = Contrast().perturb(x, 0.5, ["a"])
    assert result[0, :, 0, 0].tolist() == pytest.approx([-0.15] * 3)
    assert result[0, :, 0, 3].tolist() == pytest.approx([0.55] * 3)


def test_contrast_keeps_the_mean_of_the_luma_of_a_coloured_image() -> None:
    x = noise(2, 3, 16, 16)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    before, after = (
        (picture * weights).sum(1).mean((1, 2)) for picture in (x, Contrast().perturb(x, 0.35, ["a", "b"]))
    )
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)


def test_dropout_blackens_its_share_of_pixels_in_all_channels() -> None:
    x = torch.full((1, 3, 200, 200), 0.5)
    for share in Dropout.levels:
        black = Dropout().perturb(x, share, ["a"]) == -1
        assert torch.equal(black[0, 0], black[0, 1])
        assert torch.equal(black[0, 0], black[0, 2])
        assert float(black.float().mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / 40000) ** 0.5)


def test_dropout_draws_from_the_key_alone() -> None:
    x = torch.zeros(3, 3, 32, 32)
    first, again, other = Dropout().perturb(x, 0.3, ["a", "a", "b"])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("sigma", sorted({s for levels in GaussianBlur.levels.values() for s in levels}))
def test_blur_is_scipys_with_its_mirrored_border(sigma: float) -> None:
    x = noise(1, 3, 20, 31)
    offsets = np.arange(-np.ceil(3 * sigma), np.ceil(3 * sigma) + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    expected = x.double().numpy()
    for axis in (2, 3):
        expected = correlate1d(expected, kernel / kernel.sum(), axis=axis, mode="mirror")
    np.testing.assert_allclose(GaussianBlur().perturb(x, sigma, ["a"]).numpy(), expected, atol=1e-6)


def test_downscale_by_2_then_up_by_hand_on_a_row() -> None:
    # Antialiased bilinear halving weighs 1 3 3 1 (over 8) inside, and 3 3 1 (over 7) where the border cuts one off;
    # bilinear doubling weighs 3 1 (over 4).
    row = torch.tensor([0.0, 0.8, -0.4, 0.2, 0.6, -1.0])
    small = torch.tensor(
        [
            (3 * 0.0 + 3 * 0.8 + 1 * -0.4) / 7,
            (0.8 + 3 * -0.4 + 3 * 0.2 + 0.6) / 8,
            (0.2 + 3 * 0.6 + 3 * -1.0) / 7,
        ]
    )
    a, b, c = small.tolist()
    expected = torch.tensor([a, (3 * a + b) / 4, (a + 3 * b) / 4, (3 * b + c) / 4, (b + 3 * c) / 4, c])
    result = Downscale().perturb(row.expand(1, 3, 6, 6), 2.0, ["a"])
    torch.testing.assert_close(result, expected.expand(1, 3, 6, 6))


def test_downscale_agrees_with_pillow_on_faces() -> None:
    x, _ = load_faces(n=1)
    image = Image.fromarray(to_bytes(x)[0].numpy())
    for factor, side in zip(Downscale.levels["open"], (51, 43, 32, 26, 21), strict=True):
        there = image.resize((side, side), Image.Resampling.BILINEAR)
        back = np.asarray(there.resize((64, 64), Image.Resampling.BILINEAR), dtype=int)
        ours = to_bytes(Downscale().perturb(x, factor, ["a"]))[0].numpy()
        assert np.abs(ours - back).max() <= 2, factor


@pytest.mark.parametrize("quality", Jpeg.levels)
def test_jpeg_is_pillows_codec_bit_by_bit(quality: int) -> None:
    x, keys = load_faces(n=2)
    for picture, result in zip(x, Jpeg().perturb(x, quality, keys), strict=True):
        pixels = to_bytes(picture).numpy()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=2)
        assert encode(pixels, quality) == buffer.getvalue()
        expected = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
        assert np.array_equal(to_bytes(result).numpy(), expected)
        assert np.array_equal(decode(buffer.getvalue()), expected)
        assert torch.equal(deliver(result), result)


@pytest.mark.parametrize("quality", Jpeg.levels)
@pytest.mark.parametrize("shape", [(64, 64), (50, 37), (33, 64)])
def test_the_jpeg_twin_is_within_one_8_bit_step_of_the_codec(quality: int, shape: tuple[int, int]) -> None:
    # Measured over 200 faces: mean error 0.0023 to 0.0031, against a step of 0.0078 and an effect of 0.019 to 0.039.
    x, keys = load_faces(n=32)
    x = x[..., : shape[0], : shape[1]]
    real, twin = Jpeg().perturb(x, quality, keys), Jpeg().differentiable(x, quality, keys)
    error, step = (real - twin).abs(), 2 / 255
    assert float(error.mean()) < step / 2
    assert float((error <= 1.01 * step).float().mean()) > 0.88
    assert float(error.mean()) < 0.2 * float((real - x).abs().mean())


def test_the_jpeg_twins_gradient_leads_where_the_real_codec_follows() -> None:
    # A step along the twin's gradient must raise what the real codec returns, at every quality.
    x, keys = load_faces(n=8)
    goal = torch.nn.functional.interpolate(noise(8, 3, 8, 8), 64, mode="bilinear")
    for quality in Jpeg.levels:
        moved = x.clone().requires_grad_()
        (Jpeg().differentiable(moved, quality, keys) * goal).sum().backward()
        assert moved.grad is not None
        before, after = (Jpeg().perturb(p, quality, keys) for p in (x, (x + 0.05 * moved.grad.sign()).clamp(-1, 1)))
        assert bool((((after - before) * goal).flatten(1).sum(1) > 0).all())
