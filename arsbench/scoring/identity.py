"""identity_cosine and identity_distance: whether the forger got the person."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from arsbench.contracts import Metric, Pair


@torch.no_grad()
def describe(recogniser: nn.Module, faces: Tensor) -> Tensor:
    """Face descriptors, float64 ``[B, D]``, of ``faces`` [B, 3, H, W] in [-1, 1]."""
    descriptors: Tensor = recogniser(faces)
    return descriptors.double()


class IdentityCosine(Metric):
    """Cosine of y_p's face descriptor and that of the face the forger aims at."""

    name = "identity_cosine"
    definition = "cosine of the 128-d dlib descriptors of y_p and the forger's aim, lost pixels filled in"
    higher_is_better = False
    range = (-1.0, 1.0)

    def measure(self, pair: Pair) -> Tensor | None:
        """float64 ``[B]``; needs both descriptors."""
        if pair.seen is None or pair.aim is None:
            return None
        return nn.functional.cosine_similarity(pair.seen, pair.aim, dim=1)


class IdentityDistance(Metric):
    """Euclidean distance of the two descriptors."""

    name = "identity_distance"
    definition = "Euclidean distance of the same descriptors"
    higher_is_better = True
    range = (0.0, math.inf)

    def measure(self, pair: Pair) -> Tensor | None:
        """float64 ``[B]``; needs both descriptors."""
        if pair.seen is None or pair.aim is None:
            return None
        distance: Tensor = (pair.seen - pair.aim).norm(dim=1)
        return distance
