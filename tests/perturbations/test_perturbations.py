"""What all perturbations promise."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import features
from torch import Tensor

from arsbench.contracts import Perturbation
from arsbench.faces.delivery import deliver
from arsbench.faces.shipped import load_faces
from arsbench.perturbations import deeperforensics
from arsbench.perturbations.avif import Avif
from arsbench.perturbations.contrast import Contrast
from arsbench.perturbations.crop_resize import CropResize
from arsbench.perturbations.denoiser import Denoiser
from arsbench.perturbations.downscale import Downscale
from arsbench.perturbations.dropout import Dropout
from arsbench.perturbations.gamma import Gamma
from arsbench.perturbations.gaussian_blur import GaussianBlur
from arsbench.perturbations.gaussian_noise import GaussianNoise
from arsbench.perturbations.jpeg import Jpeg
from arsbench.perturbations.median import Median
from arsbench.perturbations.platform_chain import PlatformChain
from arsbench.perturbations.rotation import Rotation
from arsbench.perturbations.saturation import Saturation
from arsbench.perturbations.webp import Webp
from arsbench.scoring.psnr import peak_signal_to_noise
from arsbench.scoring.ssim import StructuralSimilarity

SIX = [Saturation, Contrast, Dropout, GaussianBlur, Downscale, Jpeg]
UNSEEN = [Webp, *([Avif] if features.check("avif") else []), GaussianNoise, Gamma, CropResize, Rotation]
DISTORTIONS = [
    deeperforensics.ColorSaturation,
    deeperforensics.ColorContrast,
    deeperforensics.BlockWise,
    deeperforensics.GaussianNoiseColor,
    deeperforensics.GaussianBlurKernel,
    deeperforensics.Jpeg,
]
REMOVALS = [Median, PlatformChain, Denoiser]
each = pytest.mark.parametrize("perturbation", [*SIX, *UNSEEN, *DISTORTIONS, *REMOVALS], ids=lambda p: p.name)
each_of_the_six = pytest.mark.parametrize("perturbation", SIX, ids=lambda p: p.name)
TRACKS = ("open", "paper")


@pytest.fixture(scope="module")
def faces() -> tuple[Tensor, list[str]]:
    return load_faces(n=64)


def effect(before: Tensor, after: Tensor) -> tuple[float, float]:
    """Mean PSNR and SSIM of ``after`` against ``before``."""
    ssim = StructuralSimilarity()
    psnr = peak_signal_to_noise(before, after).mean()
    return float(psnr), float(ssim.compare(ssim.features(before), ssim.features(after)).mean())


@each_of_the_six
def test_the_levels_are_the_protocols(perturbation: type[Perturbation]) -> None:
    table = {
        "saturation": {"open": (0.4, 0.3, 0.2, 0.1, 0.0)},
        "contrast": {"open": (0.85, 0.725, 0.6, 0.475, 0.35)},
        "dropout": {"open": (0.1, 0.2, 0.3, 0.4, 0.5)},
        "gaussian_blur": {"open": (0.5, 0.75, 1, 1.5, 2), "paper": (1.17, 1.5, 2.17, 2.83, 3.5)},
        "downscale": {"open": (1.25, 1.5, 2, 2.5, 3), "paper": (2, 3, 4, 5, 6)},
        "jpeg": {"open": (90, 75, 60, 45, 30)},
    }[perturbation.name]
    for track in TRACKS:
        assert perturbation.track_levels(track) == table.get(track, table["open"])


@each
def test_each_level_is_worse_than_the_one_before_and_the_first_is_more_than_rounding(
    perturbation: type[Perturbation], faces: tuple[Tensor, list[str]]
) -> None:
    x, keys = faces
    # Rounding to 8 bits: what delivering a picture costs that is half a step off.
    seen = [effect(x, deliver(x + torch.linspace(-1, 1, 64) / 255))]
    seen += [effect(x, deliver(perturbation().perturb(x, level, keys))) for level in perturbation.track_levels("open")]
    for i, name in enumerate(("PSNR", "SSIM")):
        values = [s[i] for s in seen]
        assert all(a > b for a, b in itertools.pairwise(values)), f"{name}: {values}"


@each
@pytest.mark.parametrize("twin", [False, True], ids=["perturb", "differentiable"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_an_image_does_not_depend_on_the_rest_of_its_batch_by_a_single_bit(
    perturbation: type[Perturbation], twin: bool, data: st.DataObject
) -> None:
    x, keys = load_faces(n=24)
    order = data.draw(st.permutations(range(24)))[: data.draw(st.integers(1, 24))]
    level = data.draw(st.sampled_from(perturbation.track_levels("open")))
    apply = perturbation().differentiable if twin else perturbation().perturb
    together = apply(x[order], level, [keys[i] for i in order])
    for i, result in zip(order, together, strict=True):
        assert torch.equal(result, apply(x[i : i + 1], level, [keys[i]])[0])


@each
@pytest.mark.parametrize("shape", [(64, 64), (65, 63), (100, 37), (200, 256), (5, 9), (1, 1)])
def test_any_size_comes_back_in_shape_and_range(perturbation: type[Perturbation], shape: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for track in TRACKS:
        for level in perturbation.track_levels(track):
            for result in (
                perturbation().perturb(deliver(x), level, ["a", "b"]),
                perturbation().differentiable(x, level, ["a", "b"]),
            ):
                assert result.shape == x.shape
                assert result.dtype == torch.float32
                assert float(result.abs().max()) <= 1 + 1e-5


@each
def test_the_twin_has_a_gradient_everywhere_it_should(
    perturbation: type[Perturbation], faces: tuple[Tensor, list[str]]
) -> None:
    x, keys = faces[0][:4].clone().requires_grad_(), faces[1][:4]
    perturbation().differentiable(x, perturbation.track_levels("open")[0], keys).square().sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert float((x.grad != 0).float().mean()) > 0.85


@each
def test_memory_layout_changes_nothing(perturbation: type[Perturbation], faces: tuple[Tensor, list[str]]) -> None:
    x, keys = faces[0][:3], faces[1][:3]
    level = perturbation.track_levels("open")[4]
    other = perturbation().perturb(x.to(memory_format=torch.channels_last), level, keys)
    assert torch.equal(other, perturbation().perturb(x, level, keys))


@each
def test_no_global_generator_is_touched(perturbation: type[Perturbation], faces: tuple[Tensor, list[str]]) -> None:
    state = torch.get_rng_state()
    perturbation().perturb(faces[0][:2], perturbation.track_levels("open")[2], faces[1][:2])
    assert torch.equal(state, torch.get_rng_state())
