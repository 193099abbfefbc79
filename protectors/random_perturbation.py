"""One of the protocol's six perturbations at a random strength, through its differentiable twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arsbench.contracts import Perturbation
from arsbench.perturbations.contrast import Contrast
from arsbench.perturbations.downscale import Downscale
from arsbench.perturbations.dropout import Dropout
from arsbench.perturbations.gaussian_blur import GaussianBlur
from arsbench.perturbations.jpeg import Jpeg
from arsbench.perturbations.saturation import Saturation

SIX: tuple[type[Perturbation], ...] = (Saturation, Contrast, Dropout, GaussianBlur, Downscale, Jpeg)


class RandomPerturbation(NamedTuple):
    """A perturbation and its parameter, drawn once, to be applied to several pictures alike."""

    perturbation: Perturbation
    parameter: float

    @classmethod
    def draw(
        cls, generator: torch.Generator, track: str, shares: Sequence[float] = (1.0,) * len(SIX), hardness: float = 1.0
    ) -> RandomPerturbation:
        """One of the six, its strength between levels 1 and 5 (parameters between levels are interpolated).

        Args:
            generator: of the draws.
            track: whose levels.
            shares: how often each of the six is drawn, in their order; need not sum to 1.
            hardness: 1 draws strengths uniformly, 2 as the stronger of two draws.
        """
        kind = SIX[int(torch.multinomial(torch.tensor(shares), 1, generator=generator))]
        levels = kind.track_levels(track)
        at = float(torch.rand((), generator=generator)) ** (1 / hardness) * (len(levels) - 1)
        low = min(int(at), len(levels) - 2)
        return cls(kind(), levels[low] + (at - low) * (levels[low + 1] - levels[low]))

    def __call__(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] -> perturbed, differentiable in ``x``; the same keys draw the same."""
        return self.perturbation.differentiable(x, self.parameter, keys)
