"""Networks that official checkpoints hold together, under the names they have there."""

from __future__ import annotations

from torch import Tensor, nn

from arsbench.manipulators.networks.psp_encoder import PspEncoder
from arsbench.manipulators.networks.styleclip_mapper import LevelsMapper
from arsbench.manipulators.networks.stylegan2 import StyleGAN2

STYLECLIP_STRENGTH = 0.1
"""w + 0.1 mapper(w)."""


class EncoderDecoder(nn.Module):
    """pSp's state_dict: ``[B, 3, 256, 256]`` -> the decoder's image; the average code is not part of it."""

    def __init__(self, encoder: PspEncoder, decoder: StyleGAN2) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor, latent_avg: Tensor | float = 0.0) -> Tensor:
        y: Tensor = self.decoder(self.encoder(x) + latent_avg)
        return y


class MapperDecoder(nn.Module):
    """StyleCLIP's state_dict: codes ``[B, n, style]`` -> the image of the edited codes."""

    def __init__(self, mapper: LevelsMapper, decoder: StyleGAN2) -> None:
        super().__init__()
        self.mapper, self.decoder = mapper, decoder

    def forward(self, codes: Tensor) -> Tensor:
        y: Tensor = self.decoder(codes + STYLECLIP_STRENGTH * self.mapper(codes))
        return y
