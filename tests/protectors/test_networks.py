"""The networks of TAFIM are the official ones, by keys, shapes and the order of what they compute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from arsbench.protectors.networks import OFFICIAL, official
from arsbench.protectors.networks.tafim import Level

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize("name", OFFICIAL)
def test_keys_and_shapes_equal_the_official_checkpoint(name):
    with torch.device("meta"):
        net = official(name)
    assert {key: list(t.shape) for key, t in net.state_dict().items()} == json.loads(
        (FIXTURES / f"{name}.json").read_text()
    )["keys"]


def test_the_innermost_level_is_the_published_one():
    torch.manual_seed(0)
    level = Level(2, 3, None)
    x = torch.randn(1, 2, 8, 8)
    activated = F.leaky_relu(x, 0.2)
    h = F.relu(F.conv2d(activated, level.model[1].weight, level.model[1].bias, 2, 1))
    h = F.conv_transpose2d(h, level.model[3].weight, level.model[3].bias, 2, 1)
    h = (h - h.mean((2, 3), keepdim=True)) / (h.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(level(x), torch.cat([activated, h], dim=1), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_protection_network_gives_noise_between_minus_one_and_one():
    torch.manual_seed(0)
    noise = official("tafim_unet64").eval()(torch.randn(1, 6, 128, 128) * 10)
    assert noise.shape == (1, 3, 128, 128)
    assert noise.abs().max() <= 1
