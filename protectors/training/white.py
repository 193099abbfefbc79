"""Trains ``ars_white``: ARS with the paper's own target, the white picture."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.contracts import Manipulator, Pair
from arsbench.protectors.ars import ARS
from arsbench.protectors.training import loop
from arsbench.protectors.training.ars import Away
from arsbench.training.job import TrainingJob


def train(method: type[ARS], job: TrainingJob, manipulator: Manipulator) -> Path:
    """Runs or resumes the training of ``method``; returns the file of its weights."""
    return loop.train(method, White(manipulator, job, method), job, "towards white, the paper's p and q")


class White(Away):
    """Pulls G towards a white picture: equations 2, 9 and 10 as printed."""

    name = "ars_white"
    adversarial_weight: ClassVar[float] = 10.0
    """lambda_1 of equation 10."""

    def gain(self, pair: Pair) -> Tensor:
        """``[B]``: less the distance to white."""
        return self.distance(pair.y_p, pair.y)

    def distance(self, y_p: Tensor, y: Tensor) -> Tensor:
        """``[B]``: less the mse to white."""
        return -(y_p - torch.ones_like(y_p)).square().mean((1, 2, 3))
