"""Trains ``tafim`` as published: two reconstruction terms, perturbation weight 10, white target (Aneja et al. 2022)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.contracts import Manipulator
from arsbench.protectors.learned import LearnedProtector
from arsbench.protectors.training import loop
from arsbench.protectors.training.loop import Objective, Part, protected
from arsbench.training.job import TrainingJob

PERTURBATION_WEIGHT = 10.0
"""As published and as the paper retrained it, at its default epsilon; see :meth:`Objective.noise_weight`."""


def train(method: type[LearnedProtector], job: TrainingJob, manipulator: Manipulator) -> Path:
    """Runs or resumes the training of ``method``; returns the file of its weights."""
    objective = Tafim(manipulator, job)
    weight = objective.noise_weight(PERTURBATION_WEIGHT)
    return loop.train(method, objective, job, f"both reconstruction terms to white, perturbation weight {weight:.3g}")


class Tafim(Objective):
    """The mse of G to white and of the picture to its protected self, from the pattern and from the picture's noise."""

    name = "tafim"
    learning_rate = 4e-4
    """The published 1e-4 is for batches of one."""

    def part(self, network: nn.Module, x: Tensor, keys: list[str], at: int, draws: torch.Generator) -> Part:
        """Both reconstruction terms and, with their weight, both perturbation terms."""
        pictures = [protected(x, noise) for noise in self.noises(network, x)]
        outputs = self.manipulate(torch.cat(pictures), keys * len(pictures)).chunk(len(pictures))
        white = [F.mse_loss(y, torch.ones_like(y)) for y in outputs]
        perturbed = [F.mse_loss(picture, x) for picture in pictures]
        reached = dict(zip(("white_pattern", "white_noise"), (term.item() for term in white), strict=True))
        weight = self.noise_weight(PERTURBATION_WEIGHT)
        loss = sum(white[1:], white[0]) + weight * sum(perturbed[1:], perturbed[0])
        return Part(len(x), loss, reached | {"noise_mse": perturbed[-1].item()})
