"""What a training watches: the protection on the validation faces, as it is and at level 5 of each of the six."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from arsbench.contracts import Manipulator, Pair
from arsbench.protectors.random_perturbation import SIX
from arsbench.training.job import TrainingJob

AT_ONCE = 32
WATCHED = ("sr", "sr_strict", "mse", "unrecovered", "amplification")


class Point(NamedTuple):
    """One perturbation and its reference, which no training changes."""

    name: str
    px: Tensor
    y: Tensor


class Validation:
    """Measures a network on the job's validation faces; only the protected half is computed anew each time."""

    def __init__(self, manipulator: Manipulator, job: TrainingJob) -> None:
        self.manipulator, self.job = manipulator, job
        self.x, self.keys = job.validation[0].to(job.device), job.validation[1]
        self.points: list[Point] = []

    @torch.no_grad()
    def measure(self, network: nn.Module) -> list[dict[str, Any]]:
        """One row per perturbation: means over the faces of what is watched, the median of the amplification."""
        network.eval()
        x_p = torch.cat([(x + network(x, self.job.epsilon)[-1]).clamp(-1, 1) for x in torch.split(self.x, AT_ONCE)])
        self.points = self.points or [Point(n, px, self._manipulate(px)) for n, px in self._perturbed(self.x)]
        rows = []
        for point, (name, px_p) in zip(self.points, self._perturbed(x_p), strict=True):
            pair = Pair(point.y, self._manipulate(px_p), px=point.px, px_p=px_p)
            row: dict[str, Any] = {"perturbation": name}
            for metric in WATCHED:
                values = self.job.metrics[metric].measure(pair)
                assert values is not None
                row[metric] = float(values.nanmedian() if metric == "amplification" else values.mean())
            rows.append(row | {"noise_mse": float((px_p - point.px).square().mean())})
        return rows

    def _manipulate(self, x: Tensor) -> Tensor:
        parts = (
            self.manipulator.manipulate(part, self.keys[first : first + AT_ONCE])
            for first, part in zip(range(0, len(x), AT_ONCE), torch.split(x, AT_ONCE), strict=True)
        )
        return torch.cat(list(parts)).clamp(-1, 1)

    def _perturbed(self, x: Tensor) -> list[tuple[str, Tensor]]:
        track = self.manipulator.track
        hardest = [(kind.name, kind().perturb(x, kind.track_levels(track)[-1], self.keys)) for kind in SIX]
        return [("none", x), *hardest]
