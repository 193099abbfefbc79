"""SimSwap as users meet it: the shipped weights through the public interface."""

from __future__ import annotations

import pytest
import torch

import arsbench
from arsbench.contracts import ArsbenchError, Pair
from arsbench.face_networks.loading import load_face_recogniser
from arsbench.scoring.metrics import all_metrics


@pytest.fixture(scope="module")
def swap():
    return arsbench.load_manipulator("simswap")


@pytest.fixture(scope="module")
def faces():
    return arsbench.load_faces(n=32)


def swapped(swap, n):
    """The share of swaps that are nearer to the source than to the target, and the mean SSIM to the target."""
    x, keys = arsbench.load_faces(n=n)
    recogniser = load_face_recogniser()
    ssim = next(metric for metric in all_metrics("cpu") if metric.name == "ssim")
    nearer, likeness = [], []
    for i in range(0, n, 50):
        part, names = x[i : i + 50], keys[i : i + 50]
        with torch.no_grad():
            y = swap.manipulate(part, names).clamp(-1, 1)
            to_source, to_own = ((recogniser(y) - recogniser(f)).norm(dim=1) for f in (swap.aim(part, names), part))
        nearer.append(to_source < to_own)
        likeness.append(ssim.measure(Pair(y, part)))
    return float(torch.cat(nearer).double().mean()), float(torch.cat(likeness).mean())


def test_swaps_take_the_identity_and_keep_the_layout(swap):
    share, ssim = swapped(swap, 32)
    assert share >= 0.7
    assert ssim >= 0.5


@pytest.mark.slow
def test_500_swaps_take_the_identity_and_keep_the_layout(swap):
    share, ssim = swapped(swap, 500)
    assert share >= 0.7
    assert ssim >= 0.5


def test_the_source_follows_the_key_alone(swap, faces):
    _, keys = faces
    names = swap.conditions(keys)
    assert swap.conditions(keys[::-1]) == names[::-1]
    assert set(names) <= {f"open/val/{seed}" for seed in range(10000, 10016)}
    assert len(set(names)) > 1


def test_the_forger_aims_at_the_source_that_the_rows_name(swap, faces):
    x, keys = faces
    sources, names = arsbench.load_faces(split="val", n=16)
    wanted = sources[[names.index(name) for name in swap.conditions(keys)]]
    assert torch.equal(swap.aim(x, keys), wanted)


def test_a_given_face_is_the_source_of_every_image(swap, faces):
    x, keys = faces
    source = swap.aim(x[:1], keys[:1])
    given = arsbench.load_manipulator("simswap", condition=source)
    with torch.no_grad():
        torch.testing.assert_close(given.manipulate(x[:1], keys[:1]), swap.manipulate(x[:1], keys[:1]))
    assert given.conditions(keys[:3]) == ["given face"] * 3
    assert torch.equal(given.aim(x[:3], keys[:3]), source.expand(3, -1, -1, -1))


@pytest.mark.parametrize("condition", ["smiling", torch.zeros(2, 3, 64, 64), torch.zeros(1, 1, 64, 64)])
def test_a_condition_that_is_no_face_is_one_sentence(condition):
    with pytest.raises(ArsbenchError, match="simswap"):
        arsbench.load_manipulator("simswap", condition=condition)


def test_the_gradient_reaches_the_attribute_image(swap, faces):
    x = faces[0][:2].clone().requires_grad_(True)
    swap.manipulate(x, faces[1][:2]).square().mean().backward()
    assert x.grad is not None
    assert x.grad.abs().amax((1, 2, 3)).min() > 0
