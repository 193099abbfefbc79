"""TAFIM: learned noise towards a white output, with a learned global pattern (Aneja et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.protectors.learned import LearnedProtector
from arsbench.protectors.networks.tafim import WIDTH, TafimNetwork

SIZES = {"open": (64, 12), "paper": (256, WIDTH)}
"""Side of the pictures and width of the network, by track; the official width on the paper's."""


class Tafim(LearnedProtector):
    """A U-Net on the picture and one learned pattern, as it was published, clipped to epsilon."""

    name = "tafim"
    thread_safe: ClassVar[bool] = True
    training: ClassVar[str] = "arsbench.protectors.training.tafim:train"

    @classmethod
    def build(cls, track: str) -> TafimNetwork:
        """The network at its size on ``track``, with random weights."""
        return TafimNetwork(*SIZES[track])

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x_p, same shape, within epsilon.

        Raises:
            ArsbenchError: H or W is not the pattern's.
        """
        side, _ = SIZES[self.manipulator.track]
        if x.shape[-2:] != (side, side):
            height, width = x.shape[-2:]
            raise ArsbenchError(f"protector 'tafim' protects pictures of {side} x {side}, not of {height} x {width}")
        return super().protect(x, keys)
