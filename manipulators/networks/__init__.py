"""The networks of the manipulators, one architecture per file, sizes as parameters."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from arsbench.manipulators.networks.arcface import ArcFace
from arsbench.manipulators.networks.combined import EncoderDecoder, MapperDecoder
from arsbench.manipulators.networks.psp_encoder import E4eEncoder, PspEncoder
from arsbench.manipulators.networks.simswap import SimSwapGenerator
from arsbench.manipulators.networks.styleclip_mapper import LevelsMapper
from arsbench.manipulators.networks.stylegan2 import StyleGAN2

OFFICIAL: dict[str, Callable[[], nn.Module]] = {
    "arcface": ArcFace,
    "psp_encoder": PspEncoder,
    "e4e_encoder": E4eEncoder,
    "simswap_g": SimSwapGenerator,
    "styleclip_mapper": LevelsMapper,
    "stylegan2_64": lambda: StyleGAN2(64),
    "stylegan2_256": lambda: StyleGAN2(256),
    "stylegan2_1024": lambda: StyleGAN2(1024),
    "psp_full": lambda: EncoderDecoder(PspEncoder(), StyleGAN2(1024)),
    "styleclip_full_256": lambda: MapperDecoder(LevelsMapper(fine=False), StyleGAN2(256)),
}


def official(name: str) -> nn.Module:
    """The network ``name`` at its official size, with random weights.

    Raises:
        KeyError: no network of that name.
    """
    return OFFICIAL[name]()
