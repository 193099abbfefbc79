"""ARS: learned two-way protection in one forward pass (Guan et al. 2024), as the paper trains it and untargeted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.contracts import ArsbenchError, Manipulator, Protector
from arsbench.protectors.networks.ars import ArsNetwork, Bound
from arsbench.training.job import TrainingJob
from arsbench.weights import load_weights

WEIGHTS = Path(__file__).parent / "weights"
OPEN_BASE = 24
OPEN_CHANNELS = 16
"""C of equations 4 and 5, 128 in the paper."""


def weights_folder() -> Path:
    """Where weights are looked for: the folder that ``ARSBENCH_WEIGHTS`` names, for one's own, or the shipped ones."""
    return Path(os.environ.get("ARSBENCH_WEIGHTS") or WEIGHTS)


class ARS(Protector):
    """Trained towards a white output, with the perturbation module and the adversarial net (equations 2 to 10).

    The network gives noise in units of epsilon, so that any epsilon can be asked for; it was trained at its card's.

    Raises:
        ArsbenchError: there are no weights against this manipulator, or they are damaged.
    """

    name = "ars"
    thread_safe: ClassVar[bool] = True
    bound: ClassVar[Bound] = "clip"

    def __init__(self, manipulator: Manipulator, epsilon: float = 0.3, seed: int = 0) -> None:
        super().__init__(manipulator, epsilon, seed)
        folder, stem = weights_folder(), self.stem(manipulator)
        if not (folder / f"{stem}.json").is_file():
            have = sorted(path.stem.split("--")[1] for path in folder.glob(f"{self.name}--*.json"))
            raise ArsbenchError(
                f"protector '{self.name}' has no weights for manipulator '{manipulator.name}' in {folder}, only for: "
                f"{', '.join(have) or 'none'}; make them with: "
                f"arsbench train {self.name} --manipulator {manipulator.name}"
            )
        tensors, self.weights_sha256 = load_weights(folder, stem)
        self.network = self.build()
        self.network.load_state_dict(tensors)
        self.network.eval().requires_grad_(False).to(manipulator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def stem(cls, manipulator: Manipulator) -> str:
        """The name of the weights against ``manipulator``."""
        return f"{cls.name}--{manipulator.name}--{manipulator.track}"

    @classmethod
    def build(cls) -> ArsNetwork:
        """The network at the open track's size, with random weights."""
        return ArsNetwork(OPEN_BASE, OPEN_CHANNELS, cls.bound)

    @torch.no_grad()
    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x_p, same shape, within epsilon."""
        noise: Tensor = self.network(x, self.epsilon).robust
        return (x + noise).clamp(-1, 1)

    @classmethod
    def train(cls, job: TrainingJob, manipulator: Manipulator) -> Path:
        """Trains against ``manipulator``; see :mod:`arsbench.protectors.ars_training`."""
        from arsbench.protectors.ars_training import Targeted, train

        return train(cls.build(), Targeted(manipulator, job), job, cls.stem(manipulator))


class ARSUntargeted(ARS):
    """The same network trained to push G's output away from y, in every way that ``sr_strict`` asks for. Ours."""

    name = "ars_untargeted"
    thread_safe: ClassVar[bool] = True
    bound: ClassVar[Bound] = "tanh"

    @classmethod
    def train(cls, job: TrainingJob, manipulator: Manipulator) -> Path:
        """Trains against ``manipulator``; see :mod:`arsbench.protectors.ars_training`."""
        from arsbench.protectors.ars_training import Untargeted, train

        return train(cls.build(), Untargeted(manipulator, job), job, cls.stem(manipulator))
