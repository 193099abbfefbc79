from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from arsbench.photos.enlarge import LARGE, REDUCERS, STEEPER, Seen, enlarged, feather

INSIDE = (False, False, False, False)
AROUND = (True, True, True, True)


def noise(epsilon=0.3, side=64):
    return epsilon * (2 * torch.rand((3, side, side), generator=torch.Generator().manual_seed(0)) - 1)


@pytest.mark.parametrize("reducer", sorted(REDUCERS))
@pytest.mark.parametrize(
    ("height", "width", "fades"),
    [(256, 256, AROUND), (480, 300, AROUND), (700, 480, (True, False, True, False)), (50, 40, INSIDE)],
)
def test_what_is_seen_is_what_pillow_makes_of_the_enlarged_noise(reducer, height, width, fades):
    made = noise()
    seen = Seen(64, height, width, fades, 0.3)(made, reducer)
    large = enlarged(made, height, width, 0.3) * feather(height, width, fades)[..., None]
    for plane, expected in zip(np.moveaxis(large, 2, 0), seen, strict=True):
        reduced = np.asarray(Image.fromarray(plane.copy()).resize((64, 64), REDUCERS[reducer]))
        assert np.abs(reduced - expected.numpy()).mean() < (1e-6 if max(height, width) <= LARGE else 0.009)


def test_enlarged_noise_stays_within_epsilon_and_spends_most_of_it():
    made = torch.where(noise() > 0, 0.3, -0.3)
    large = enlarged(made, 333, 257, 0.3)
    assert large.shape == (333, 257, 3)
    assert np.abs(large).max() == pytest.approx(0.3)
    assert np.square(large).mean() > 0.7 * 0.3**2


def test_a_gradient_reaches_noise_that_is_cut_off():
    made = noise(10.0).requires_grad_()
    seen = Seen(64, 128, 128, INSIDE, 0.3)(made, "bilinear")
    (gradient,) = torch.autograd.grad(seen.sum(), made)
    assert float(seen.abs().max()) <= 0.3 + 1e-6
    assert float(gradient.abs().min()) > 0


def test_feathered_noise_ends_at_the_crop_but_not_at_the_border_of_the_photo():
    weights = feather(160, 160, (True, False, False, True))
    assert weights[80, 0] < 0.02
    assert weights[159, 80] < 0.02
    assert weights[80, 159] == weights[0, 80] == weights[80, 80] == 1
    assert (np.diff(weights[80, :20]) >= 0).all()


def test_corrected_noise_is_seen_nearer_to_what_was_wanted():
    wanted = torch.nn.functional.avg_pool2d(noise(0.9), 5, 1, 2)
    seen = Seen(64, 300, 300, INSIDE, 0.3)
    corrected = seen.corrected(wanted)
    assert float(corrected.abs().max()) <= 0.3 + 1e-6
    for reducer in REDUCERS:
        before, after = ((seen(n, reducer) - wanted).square().mean() for n in (wanted / STEEPER, corrected))
        assert after < before / 2
