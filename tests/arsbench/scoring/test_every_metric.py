"""Every metric against an independent reference, and what the class says of it; a new metric adds a line."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import arsbench
from arsbench.contracts import Pair
from arsbench.rows import COLUMNS
from arsbench.scoring.lpips import load_lpips
from arsbench.scoring.metrics import METRICS, all_metrics

N = 4


def mse(a, b):
    return float(np.mean((a - b) ** 2))


def masked(a, b, changed):
    mask = (np.abs(changed[0] - changed[1]).sum(0) > 0.5).astype(float)
    return float(((a - b) ** 2 * mask).sum() / (3 * mask.sum())) if mask.sum() else 0.0


def unrecovered(y, y_p):
    lost = total = 0.0
    for channel, channel_p in zip(y, y_p, strict=True):
        # The offset is free: split into two columns of opposite sign for the non-negative least squares.
        ones = np.ones(channel.size)
        _, residual = nnls(np.stack([channel_p.ravel(), ones, -ones], 1), channel.ravel())
        lost += residual**2
        total += ((channel - channel.mean()) ** 2).sum()
    return lost / total


def amplification(p):
    return mse(p["y"], p["y_p"]) / mse(p["px"], p["px_p"])


def ssim(p):
    a, b = (p["y"] + 1) / 2, (p["y_p"] + 1) / 2
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, full = structural_similarity(a, b, data_range=1.0, channel_axis=0, full=True, **settings)
    return float(full[:, 5:-5, 5:-5].mean())


def lpips(p):
    y, y_p = (torch.from_numpy(p[name]).float()[None] for name in ("y", "y_p"))
    with torch.no_grad():
        return float(load_lpips()(y, y_p))


REFERENCES = {
    "mse": lambda p: mse(p["y"], p["y_p"]),
    "psnr": lambda p: peak_signal_noise_ratio(p["y"], p["y_p"], data_range=2),
    "lpips": lpips,
    "ssim": ssim,
    "sr": lambda p: float(mse(p["y"], p["y_p"]) > 0.05),
    "sr_mask": lambda p: float(masked(p["y"], p["y_p"], (p["y_clean"], p["x"])) > 0.05),
    "sr_mask:icml2026": lambda p: float(masked(p["y"], p["y_p"], (p["y_p"], p["y"])) > 0.05),
    "amplification": amplification,
    "unrecovered": lambda p: unrecovered(p["y"], p["y_p"]),
    "sr_strict": lambda p: float(
        mse(p["y"], p["y_p"]) > 0.05 and unrecovered(p["y"], p["y_p"]) > 0.25 and amplification(p) > 1
    ),
    "identity_cosine": lambda p: float(p["seen"] @ p["aim"] / np.linalg.norm(p["seen"]) / np.linalg.norm(p["aim"])),
    "identity_distance": lambda p: float(np.linalg.norm(p["seen"] - p["aim"])),
}
each = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


@pytest.fixture(scope="module")
def pair():
    """Faces in every role, mixed so that each rate takes both values."""
    faces, _ = arsbench.load_faces(n=2 * N)
    y, other = faces[:N], faces[N:]
    strength = torch.linspace(0.1, 1, N)[:, None, None, None]
    x = y.flip(3)
    described = torch.rand(2, N, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    y_p = y + strength * (other - y)
    return Pair(y, y_p, x, x + 0.1 * strength, y + 0.2 * other, x, x + 0.4 * strength, described[0], described[1])


@pytest.fixture(scope="module")
def made():
    return {metric.name: metric for metric in all_metrics()}


def image(pair, i):
    given = {**pair.pictures(), "seen": pair.seen, "aim": pair.aim}
    return {name: value[i].double().numpy() for name, value in given.items()}


def test_every_metric_has_a_reference():
    assert set(REFERENCES) == {metric.name for metric in METRICS}


@each
def test_it_is_the_independent_reference(metric, made, pair):
    values = made[metric.name].measure(pair)
    expected = [REFERENCES[metric.name](image(pair, i)) for i in range(N)]
    np.testing.assert_allclose(values.double().numpy(), expected, rtol=2e-4, atol=2e-5)


@each
def test_it_is_per_image_and_within_its_range(metric, made, pair):
    values = made[metric.name].measure(pair)
    assert values.shape == (N,)
    low, high = metric.range
    assert bool(((values >= low - 1e-6) & (values <= high + 1e-6)).all())


@each
def test_equal_outputs_are_no_protection(metric, made, pair):
    """The better end of the range is not where nothing changed."""
    if pair.seen is not None and metric.name.startswith("identity"):
        same = Pair(pair.y, pair.y, seen=pair.aim, aim=pair.aim)
    else:
        same = Pair(pair.y, pair.y, pair.x, pair.x_p, pair.y_clean, pair.px, pair.px_p)
    worst = made[metric.name].measure(same)
    reached = made[metric.name].measure(pair)
    assert bool((worst <= reached + 1e-6).all() if metric.higher_is_better else (worst >= reached - 1e-6).all())


@each
def test_rows_take_direction_and_meaning_from_the_class(metric):
    column = next(column for column in COLUMNS if column.name == metric.name)
    assert column.higher_is_better is metric.higher_is_better
    assert column.meaning.startswith(metric.definition)
    assert not math.isnan(metric.range[0])
