"""The iterative attacks: budget, determinism, and PGD against one written independently."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import arsbench
from arsbench.contracts import Manipulator
from arsbench.faces.delivery import deliver
from arsbench.protectors.ascent import project
from arsbench.protectors.controls import Brighten, Noise, Shade
from arsbench.protectors.disrupt import SCHEDULES, Disrupt, blur, box_kernel, gaussian_kernel
from arsbench.protectors.eot_pgd import EoTPGD
from arsbench.protectors.fgsm import FGSM
from arsbench.protectors.pgd import PGD
from arsbench.protectors.random_perturbation import SIX, RandomPerturbation

ATTACKS = ("fgsm", "pgd", "disrupt", "eot_pgd")
BOUNDED = (*ATTACKS, "noise", "brighten", "shade")


class Scale(Manipulator):
    """G(x) = 2 x: the best attack is as far from x as the ball and [-1, 1] allow."""

    name = "scale"

    def manipulate(self, x, keys):
        return 2 * x


@pytest.fixture(scope="module")
def faces():
    return arsbench.load_faces(n=3)


@pytest.fixture(scope="module")
def mixer():
    return arsbench.load_manipulator("psp-mix")


@pytest.mark.parametrize("name", BOUNDED)
def test_the_protected_picture_is_within_epsilon_and_range(name, faces):
    x, keys = faces
    x_p = arsbench.load_protector(name, Scale(), epsilon=0.1).protect(x, keys)
    assert (x_p - x).abs().max() <= 0.1 + 1e-6
    assert x_p.abs().max() <= 1


@pytest.mark.parametrize("name", BOUNDED)
def test_the_same_key_gives_the_same_picture_and_another_seed_another(name, faces):
    x, keys = faces
    first, again = (arsbench.load_protector(name, Scale(), epsilon=0.1).protect(x, keys) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("method", [FGSM, PGD, EoTPGD, Noise])
def test_another_seed_draws_anew(method, faces):
    x, keys = faces
    assert not torch.equal(method(Scale(), 0.1, seed=0).protect(x, keys), method(Scale(), 0.1, seed=1).protect(x, keys))


def test_fgsm_moves_every_pixel_by_epsilon(faces):
    x, keys = faces
    moved = (FGSM(Scale(), 0.1).protect(x * 0.5, keys) - x * 0.5).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1), atol=2e-3, rtol=0)


def test_pgd_reaches_the_edge_of_the_ball(faces):
    x, keys = faces
    moved = (PGD(Scale(), 0.1).protect(x * 0.5, keys) - x * 0.5).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1), atol=1e-6, rtol=0)


@given(st.floats(0.01, 0.5), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_projection_is_within_the_ball_and_leaves_what_is_inside(epsilon, seed):
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    far = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed + 1))
    projected = project(far, x, epsilon)
    assert (projected - x).abs().max() <= epsilon + 1e-6
    assert torch.equal(project(projected, x, epsilon), projected)


def independent_pgd(manipulator, x, keys, epsilon):
    """Ten steps as in Madry et al., for one batch: no line of it is the project's."""
    with torch.no_grad():
        clean = manipulator.manipulate(x, keys)
    torch.manual_seed(0)
    delta = torch.empty_like(x).uniform_(-epsilon, epsilon)
    for _ in range(10):
        delta.requires_grad_(True)
        loss = torch.nn.functional.mse_loss(manipulator.manipulate((x + delta).clamp(-1, 1), keys), clean)
        loss.backward()
        delta = (delta + epsilon / 4 * delta.grad.sign()).clamp(-epsilon, epsilon).detach()
    return (x + delta).clamp(-1, 1)


def test_pgd_is_as_strong_as_an_independent_one(mixer):
    x, keys = arsbench.load_faces(n=8)
    ours = deliver(PGD(mixer, 0.3).protect(x, keys))
    theirs = deliver(independent_pgd(mixer, x, keys, 0.3))
    with torch.no_grad():
        y, y_ours, y_theirs = (mixer.manipulate(t, keys).clamp(-1, 1) for t in (x, ours, theirs))
    assert (y_ours - y).square().mean() >= 0.9 * (y_theirs - y).square().mean()


@pytest.mark.parametrize("attack", [FGSM, PGD, Disrupt])
def test_an_attack_does_not_depend_on_the_other_images(attack, mixer, faces):
    x, keys = faces
    method = attack(mixer, 0.3)
    alone = torch.cat([method.protect(x[i : i + 1], keys[i : i + 1]) for i in range(len(x))])
    assert torch.equal(deliver(method.protect(x, keys)), deliver(alone))


class Wide(Scale):
    """G(x) = 2 x, which keeps the dtypes that it was given."""

    float64: ClassVar[bool] = True

    def set_up(self):
        self.seen = set()

    def manipulate(self, x, keys):
        self.seen.add(x.dtype)
        return 2 * x


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_climbs_in_float64_where_that_is_promised(name, faces):
    x, keys = faces
    manipulator = Wide()
    x_p = arsbench.load_protector(name, manipulator, epsilon=0.1).protect(x, keys)
    assert manipulator.seen == {torch.float64}
    assert x_p.dtype == torch.float32


OLDEST_INSTRUCTIONS = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
}


@pytest.mark.parametrize("name", ["fgsm", "pgd", "disrupt"])
def test_an_attack_ends_in_the_same_picture_on_an_older_processor(name, mixer, tmp_path):
    x, keys = arsbench.load_faces(n=2)
    script = (
        "import sys, torch, arsbench; from arsbench.faces.delivery import deliver\n"
        "attack = arsbench.load_protector(sys.argv[1], arsbench.load_manipulator('psp-mix'), epsilon=0.3)\n"
        "torch.save(deliver(attack.protect(*arsbench.load_faces(n=2))), sys.argv[2])"
    )
    file = tmp_path / "delivered.pt"
    subprocess.run([sys.executable, "-c", script, name, file], env=os.environ | OLDEST_INSTRUCTIONS, check=True)
    here = deliver(arsbench.load_protector(name, mixer, epsilon=0.3).protect(x, keys))
    assert torch.equal(torch.load(file, weights_only=True), here)


@pytest.mark.parametrize("track", SCHEDULES)
def test_a_disrupt_cycle_has_five_gaussians_and_three_boxes(track):
    assert len(SCHEDULES[track].sigmas) == 5
    assert len(SCHEDULES[track].boxes) == 3


@pytest.mark.parametrize("kernel", [gaussian_kernel(1.5), box_kernel(5)])
def test_disrupt_blurs_with_zero_padding(kernel):
    torch.testing.assert_close(kernel.sum(), torch.tensor(1.0, dtype=torch.float64))
    blurred = blur(torch.ones(1, 1, 21, 21), kernel)
    torch.testing.assert_close(blurred[0, 0, 10, 10], torch.tensor(1.0))
    assert blurred[0, 0, 0, 0] < 0.5


def test_random_perturbations_cover_the_six_between_their_levels():
    draws = [RandomPerturbation.draw(torch.Generator().manual_seed(i), "open") for i in range(200)]
    assert {type(d.perturbation) for d in draws} == set(SIX)
    for d in draws:
        levels = type(d.perturbation).track_levels("open")
        assert min(levels) <= d.parameter <= max(levels)


def test_brighten_adds_epsilon_and_clips():
    x = torch.tensor([-1.0, 0.0, 0.9]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    expected = torch.tensor([-0.7, 0.3, 1.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    torch.testing.assert_close(Brighten(Scale(), 0.3).protect(x, ["k"]), expected)


def test_shade_is_one_fixed_pattern_of_both_signs():
    x = torch.zeros(2, 3, 64, 64)
    shaded = Shade(Scale(), 0.3).protect(x, ["a", "b"])
    assert torch.equal(shaded[0], shaded[1])
    assert float(shaded.amax()) == pytest.approx(0.3)
    assert float(shaded.amin()) == pytest.approx(-0.3)
    assert abs(float(shaded.mean())) < 0.01
