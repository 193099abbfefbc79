"""The removals that ship against independent libraries."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import median_filter
from torch import Tensor

import arsbench
from arsbench.faces.delivery import deliver, to_bytes
from arsbench.faces.shipped import load_faces
from arsbench.perturbations.denoiser import Denoiser
from arsbench.perturbations.median import Median
from arsbench.perturbations.platform_chain import PlatformChain
from arsbench.perturbations.removal import Removal


class Blank(Removal):
    name = "blank"

    def remove(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_a_removals_levels_blend_it_in() -> None:
    x = torch.full((1, 3, 2, 2), 0.5)
    assert [round(float(Blank().perturb(x, p, ["a"])[0, 0, 0, 0]), 6) for p in Blank.levels] == [0.4, 0.3, 0.2, 0.1, 0]


def test_median_is_scipys_with_its_border_repeated() -> None:
    x = torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(3)) * 2 - 1
    wanted = median_filter(x.numpy(), size=(1, 1, 3, 3), mode="nearest")
    np.testing.assert_array_equal(Median().remove(x).numpy(), wanted)


def test_the_platforms_chain_is_pillows_steps_over_files() -> None:
    x, keys = load_faces(n=1)
    image = Image.fromarray(to_bytes(x)[0].numpy())
    upload = io.BytesIO()
    image.resize((48, 48), Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(1, 80, 0)).save(
        upload, "JPEG", quality=70, subsampling=2
    )
    wanted = np.asarray(Image.open(upload).resize((64, 64), Image.Resampling.BICUBIC), dtype=int)
    assert np.array_equal(to_bytes(PlatformChain().perturb(x, 1.0, keys))[0].numpy(), wanted)
    half = to_bytes(PlatformChain().perturb(x, 0.6, keys))[0].numpy().astype(float)
    assert np.abs(half - (0.4 * np.asarray(image) + 0.6 * wanted)).max() <= 1


def test_the_denoiser_brings_a_protected_face_nearer_to_the_face() -> None:
    x, keys = load_faces(n=4)
    x_p = deliver(arsbench.load_protector("fgsm", "psp-mix").protect(x, keys).detach())
    before, after = ((picture - x).square().mean() for picture in (x_p, Denoiser().perturb(x_p, 1.0, keys)))
    assert float(after) < 0.95 * float(before)  # .91 on 8 faces
