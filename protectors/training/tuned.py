"""Trains ``ars_tuned``: on the board's own six perturbations, for the three thresholds of ``sr_strict``."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from arsbench.contracts import Manipulator, Pair
from arsbench.protectors.learned import LearnedProtector
from arsbench.protectors.random_perturbation import RandomPerturbation
from arsbench.protectors.training import loop
from arsbench.protectors.training.loop import Objective, Part, log_amplification, protected, soft_clamp
from arsbench.training.job import TrainingJob

ROBUST_WEIGHT = 2.0
BASIC_SHARE = 0.5
"""f is trained for this share of the steps and then left as it is, which makes a step twice as fast; a training that
starts from finished weights leaves it as it is throughout."""
GROUPS = 4
CLEAN_SHARE = 0.1
SHARES = (0.16, 0.18, 0.22, 0.18, 0.12, 0.14)
"""How often each of the six is met; dropout, which takes most from the noise, most often."""
HARDNESS = 5.0


def train(method: type[LearnedProtector], job: TrainingJob, manipulator: Manipulator) -> Path:
    """Runs or resumes the training of ``method``; returns the file of its weights."""
    return loop.train(method, Tuned(manipulator, job), job, "the board's six perturbations, sr_strict's thresholds")


class Tuned(Objective):
    """Pushes G away from y, rewarding the three things that ``sr_strict`` asks for, clean (f) and perturbed (g)."""

    name = "ars_tuned"
    learning_rate = 4e-4

    def part(self, network: nn.Module, x: Tensor, keys: list[str], at: int, draws: torch.Generator) -> Part:
        """Less the gain; each group of the faces meets one random perturbation, x and x_p alike."""
        x_basic, x_robust = (protected(x, noise) for noise in self.noises(network, x))
        px, px_p = self._perturb(x, x_robust, keys, draws)
        before, after, weights = [px], [px_p], [ROBUST_WEIGHT]
        if self.job.start is None and at < BASIC_SHARE * self.job.steps:
            before, after, weights = [px, x], [px_p, x_basic], [ROBUST_WEIGHT, 1.0]
        clean, attacked, names = torch.cat(before), torch.cat(after), keys * len(before)
        with torch.no_grad():
            references = soft_clamp(self.manipulate(clean, names))
        outputs = soft_clamp(self.manipulate(attacked, names))
        gains = self._gain(Pair(references, outputs, px=clean, px_p=attacked)).view(len(before), -1).mean(1)
        reached = dict(zip(("gain_robust", "gain_basic"), gains.tolist(), strict=False))
        return Part(len(x), -gains @ gains.new_tensor(weights), reached)

    def _perturb(self, x: Tensor, x_p: Tensor, keys: list[str], draws: torch.Generator) -> tuple[Tensor, Tensor]:
        size = math.ceil(len(x) / GROUPS)
        parts = []
        for first in range(0, len(x), size):
            part, named = slice(first, first + size), keys[first : first + size]
            if float(torch.rand((), generator=draws)) < CLEAN_SHARE:
                parts.append((x[part], x_p[part]))
                continue
            p = RandomPerturbation.draw(draws, self.manipulator.track, SHARES, HARDNESS)
            parts.append((p(x[part], named), p(x_p[part], named)))
        return torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])

    def _gain(self, pair: Pair) -> Tensor:
        mse_out = (pair.y_p - pair.y).square().mean((1, 2, 3))
        unrecovered = self.job.metrics["unrecovered"].measure(pair)
        assert unrecovered is not None
        amplified = log_amplification(pair)
        # The sigmoids are the three thresholds of sr_strict, softened and centred a little above them; the first weighs
        # most, because a low mse is what most failures fail by. What is reached is not rewarded further.
        changed = (mse_out + 1e-3).sqrt().clamp(max=0.32) + 2 * torch.sigmoid((mse_out - 0.06) / 0.015)
        attacked = 0.6 * torch.sigmoid((amplified - 0.15) / 0.15) + 0.1 * amplified.clamp(max=1.5)
        u = unrecovered.float()
        lost = 1.5 * torch.sigmoid((u - 0.29) / 0.05) + 0.3 * u.clamp(max=0.45)
        return changed + attacked + lost
