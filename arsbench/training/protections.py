"""Protected faces for methods that learn to take a protection off: by each protector, against each manipulator."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from arsbench import registry
from arsbench.contracts import Manipulator, Protector
from arsbench.draws import generator
from arsbench.faces.delivery import deliver
from arsbench.named_sets import MANIPULATORS
from arsbench.running.loading import make_manipulator, make_protector

PROTECTORS = ("none", "noise", "fgsm", "pgd", "ars", "ars_tuned")


class Protections:
    """(x, keys, number) -> x_p, delivered; consecutive numbers are different protectors and manipulators.

    Args:
        track: of the faces.
        device: where to compute.
        epsilon: the L_inf budget.
    """

    def __init__(self, track: str, device: torch.device, epsilon: float) -> None:
        self.track, self.device, self.epsilon = track, device, epsilon
        combinations = list(itertools.product(PROTECTORS, MANIPULATORS))
        order = torch.randperm(len(combinations), generator=generator("order", "protections")).tolist()
        self.combinations = [combinations[i] for i in order]

    def __len__(self) -> int:
        return len(self.combinations)

    def __call__(self, x: Tensor, keys: Sequence[str], number: int) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x_p of the same shape, 8 bit."""
        protector = self._protector(*self.combinations[number % len(self)])
        return deliver(protector.protect(x, keys).detach())

    @functools.cached_property
    def _manipulators(self) -> dict[str, Manipulator]:
        return {
            name: make_manipulator(registry.find("manipulator", name), self.track, self.device) for name in MANIPULATORS
        }

    @functools.cache  # noqa: B019 - lives as long as the training
    def _protector(self, name: str, manipulator: str) -> Protector:
        return make_protector(registry.find("protector", name), self._manipulators[manipulator], self.epsilon)
