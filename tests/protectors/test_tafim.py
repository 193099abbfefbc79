"""TAFIM: bound, pattern, what it is trained by."""

from __future__ import annotations

import pytest
import torch

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.protectors.networks.tafim import TafimNetwork

X = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
def test_both_noises_stay_within_epsilon_and_the_pattern_is_one_for_all():
    torch.manual_seed(0)
    noises = TafimNetwork(64, 4).eval()(X * 50, 0.1)
    assert noises.noise.abs().max() <= 0.1
    assert noises.pattern.abs().max() <= 0.1
    assert torch.equal(noises.pattern[0], noises.pattern[1])


def test_the_pattern_learns_from_both_noises():
    torch.manual_seed(0)
    network = TafimNetwork(64, 4).eval()
    for i in (0, 1):
        network.zero_grad()
        network(X, 1.0)[i].square().sum().backward()
        assert network.pattern.grad.abs().sum() > 0


@pytest.mark.parametrize("manipulator", ["psp-mix", "psp-recon", "simswap", "styleclip"])
def test_the_shipped_weights_keep_the_budget_and_see_each_image_alone(manipulator):
    x, keys = arsbench.load_faces(n=4)
    protector = arsbench.load_protector("tafim", manipulator)
    together = protector.protect(x, keys)
    assert (together - x).abs().max() <= 0.3 + 1e-6
    assert (together - x).abs().max() > 0.02
    alone = torch.cat([protector.protect(x[i : i + 1], keys[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_a_picture_of_another_size_is_one_sentence():
    protector = arsbench.load_protector("tafim", "psp-mix")
    with pytest.raises(ArsbenchError, match="pictures of 64 x 64, not of 32 x 64"):
        protector.protect(X[:, :, :32], ["a", "b"])
