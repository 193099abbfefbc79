"""The networks of the learned protectors, one architecture per file, sizes as parameters."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from arsbench.protectors.networks.tafim import TafimUNet

OFFICIAL: dict[str, Callable[[], nn.Module]] = {
    "tafim_unet64": TafimUNet,
    "tafim_attn": lambda: TafimUNet(4, 1, nn.ReLU),
    "tafim_fusion": lambda: TafimUNet(3, 3),
}


def official(name: str) -> nn.Module:
    """The network ``name`` at its official size, with random weights.

    Raises:
        KeyError: no network of that name.
    """
    return OFFICIAL[name]()
