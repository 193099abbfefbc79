"""Lost pixels are filled from those around them; whatever else is black stays black."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import arsbench
from arsbench.face_networks.lost_pixels import PASSES, SCATTERED_SHARE, fill_lost_pixels, scattered_share


@pytest.fixture(scope="module")
def faces():
    return arsbench.load_faces(n=1000)


def test_no_shipped_face_counts_as_lossy_and_every_dropped_one_does(faces):
    x, keys = faces
    assert scattered_share(x).max() < SCATTERED_SHARE / 2
    assert scattered_share(arsbench.perturb(x, "dropout", 1, keys)).min() > 2 * SCATTERED_SHARE


def test_a_picture_with_a_black_half_is_left_as_it_is():
    x = torch.full((1, 3, 8, 8), 0.5)
    x[..., :4] = -1
    assert torch.equal(fill_lost_pixels(x), x)


def test_dark_but_coloured_pixels_are_not_lost():
    x = torch.full((1, 3, 8, 8), 0.5)
    x[:, :2, ::2, ::2] = -1
    assert torch.equal(fill_lost_pixels(x), x)


def test_a_lost_pixel_is_the_weighted_mean_of_those_around_it():
    x = torch.zeros(1, 3, 5, 5)
    x[..., 2, 2] = -1  # 1 of 25 pixels
    x[..., 1, 2], x[..., 1, 1] = 0.6, -0.3
    # Side neighbours count twice, corners once: (2 * 0.6 - 0.3) / 12.
    filled = fill_lost_pixels(x)
    torch.testing.assert_close(filled[0, :, 2, 2], torch.full((3,), 0.075))
    filled[..., 2, 2] = -1
    assert torch.equal(filled, x)


def test_a_group_of_lost_pixels_is_filled_from_its_rim():
    x = torch.full((1, 3, 16, 16), 0.25)
    x[..., ::3, ::3] = -1
    x[..., 5 : 5 + 2 * PASSES, 5 : 5 + 2 * PASSES] = -1
    torch.testing.assert_close(fill_lost_pixels(x), torch.full_like(x, 0.25))


@torch.no_grad()
def test_most_of_what_dropout_took_comes_back(faces):
    x, keys = (v[:32] for v in faces)
    lost = arsbench.perturb(x, "dropout", 3, keys)
    assert (fill_lost_pixels(lost) - x).square().mean() < 0.05 * (lost - x).square().mean()


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 5))
def test_no_picture_depends_on_another(faces, order, level):
    x, keys = faces[0][:6], faces[1][:6]
    mixed = torch.cat([x[:3], arsbench.perturb(x[3:], "dropout", level, keys[3:])])
    whole = fill_lost_pixels(mixed)
    assert torch.equal(fill_lost_pixels(mixed[order]), whole[order])


def test_the_gradient_reaches_the_pixels_that_remain(faces):
    x = arsbench.perturb(faces[0][:2], "dropout", 2, faces[1][:2]).requires_grad_(True)
    fill_lost_pixels(x).sum().backward()
    kept = (x > -1).any(1, keepdim=True).expand_as(x)
    assert (x.grad[kept] >= 1).all()
