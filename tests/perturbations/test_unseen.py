"""The perturbations of the set unseen against values computed by hand or by an independent library."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, features
from scipy.ndimage import affine_transform
from torch import Tensor

from arsbench import protocol
from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import to_bytes
from arsbench.faces.shipped import load_faces
from arsbench.perturbations.avif import Avif
from arsbench.perturbations.crop_resize import CropResize
from arsbench.perturbations.gamma import Gamma
from arsbench.perturbations.gaussian_noise import GaussianNoise
from arsbench.perturbations.rotation import Rotation
from arsbench.perturbations.webp import Webp

with_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


def moved(x: Tensor, matrix: list[list[float]]) -> NDArray[np.float64]:
    """One picture read at matrix @ (row, column) about its centre, by scipy; its border repeated."""
    centre = (np.array(x.shape[-2:]) - 1) / 2
    offset = centre - np.array(matrix) @ centre
    planes = x[0].double().numpy()
    return np.stack([affine_transform(plane, matrix, offset, order=1, mode="nearest") for plane in planes])


@pytest.mark.parametrize("degrees", Rotation.levels)
def test_rotation_is_scipys_on_a_picture_that_is_not_square(degrees: float) -> None:
    x = noise(1, 3, 20, 31)
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    wanted = moved(x, [[cosine, sine], [-sine, cosine]])
    np.testing.assert_allclose(Rotation().perturb(x, degrees, ["a"])[0].numpy(), wanted, atol=2e-5)


@pytest.mark.parametrize("share", CropResize.levels)
def test_crop_is_scipys_zoom_about_the_centre(share: float) -> None:
    x = noise(1, 3, 20, 31)
    # The borders between pixels are what is cut, half a pixel outside the first centre: the centre stays.
    wanted = moved(x, [[1 - 2 * share, 0], [0, 1 - 2 * share]])
    np.testing.assert_allclose(CropResize().perturb(x, share, ["a"])[0].numpy(), wanted, atol=2e-5)


def test_gamma_of_a_half_is_the_root_of_the_value() -> None:
    x = torch.tensor([-1.0, -0.5, 0.28, 1.0])[None, None, None].expand(1, 3, 1, 4)
    result = Gamma().perturb(x, 0.5, ["a"])[0, 0, 0].tolist()
    assert result == pytest.approx([2 * 0.01 - 1, 2 * 0.5 - 1, 2 * 0.8 - 1, 1.0])  # black: the root of 1e-4


@pytest.mark.parametrize("deviation", GaussianNoise.levels)
def test_noise_has_its_deviation_and_no_mean(deviation: float) -> None:
    added = GaussianNoise().perturb(torch.zeros(1, 3, 120, 120), deviation, ["a"])
    assert float(added.std()) == pytest.approx(deviation, rel=0.02)
    assert abs(float(added.mean())) < 4 * deviation / (3 * 120 * 120) ** 0.5


def test_noise_comes_from_the_key_alone_and_is_the_same_at_every_level() -> None:
    x = torch.zeros(3, 3, 8, 8)
    first, again, other = GaussianNoise().perturb(x, 0.02, ["a", "a", "b"])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(GaussianNoise().perturb(x[:1], 0.04, ["a"])[0], 2 * first)


@pytest.mark.parametrize(
    ("codec", "format"), [(Webp, "WEBP"), pytest.param(Avif, "AVIF", marks=with_avif)], ids=["webp", "avif"]
)
def test_a_codec_is_pillows_bit_by_bit(codec: type[Webp] | type[Avif], format: str) -> None:
    x, keys = load_faces(n=2)
    for quality in (codec.levels[0], codec.levels[-1]):
        for picture, result in zip(x, codec().perturb(x, quality, keys), strict=True):
            buffer = io.BytesIO()
            Image.fromarray(to_bytes(picture).numpy()).save(buffer, format, quality=quality)
            assert Image.open(buffer).format == format
            assert np.array_equal(to_bytes(result).numpy(), np.asarray(Image.open(buffer).convert("RGB")))


def test_without_avif_the_set_leaves_it_out_and_naming_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ("avif" in protocol.groups("perturbation")["unseen"]) == features.check("avif")
    monkeypatch.setattr(features, "check", lambda feature: False)
    assert protocol.groups("perturbation")["unseen"] == ("webp", "gaussian_noise", "gamma", "crop_resize", "rotation")
    with pytest.raises(ArsbenchError, match="needs a Pillow with AVIF"):
        Avif().perturb(torch.zeros(1, 3, 8, 8), 90, ["a"])
