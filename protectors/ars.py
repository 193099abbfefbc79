"""ARS: learned two-way protection in one forward pass (Guan et al. 2024), as the paper trains it and untargeted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.contracts import ArsbenchError, Manipulator, Protector, TrainingJob, load_weights
from protectors.networks.ars import ArsNetwork, Bound

WEIGHTS = Path(__file__).parent / "weights"
OPEN_BASE = 24
OPEN_CHANNELS = 16


class ARS(Protector):
    """Trained towards a white output, with the perturbation module and the adversarial net (equations 2 to 10).

    Raises:
        ArsbenchError: no weights are shipped for this manipulator, or they were trained for another epsilon.
    """

    name = "ars"
    bound: ClassVar[Bound] = "clip"

    def __init__(self, manipulator: Manipulator, epsilon: float = 0.3, seed: int = 0) -> None:
        super().__init__(manipulator, epsilon, seed)
        stem = f"{self.name}_{manipulator.name}_{manipulator.track}"
        if not (WEIGHTS / f"{stem}.json").is_file():
            have = sorted(path.stem.split("_")[-2] for path in WEIGHTS.glob(f"{self.name}_*.json"))
            raise ArsbenchError(
                f"protector '{self.name}' has no weights for manipulator '{manipulator.name}'; it has them for: "
                f"{', '.join(have) or 'none'}; make them with: "
                f"arsbench train {self.name} --manipulator {manipulator.name}"
            )
        tensors, self.weights_sha256 = load_weights(WEIGHTS, stem)
        self.network = self.build()
        self.network.load_state_dict(tensors)
        self.network.eval().requires_grad_(False).to(manipulator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

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
        """Trains against ``manipulator``; see :mod:`protectors.ars_training`."""
        from protectors.ars_training import Targeted, train

        return train(cls.build(), Targeted(manipulator, job), job)


class ARSUntargeted(ARS):
    """The same network trained to push G's output away from y, in every way that ``sr_strict`` asks for. Ours."""

    name = "ars_untargeted"
    bound: ClassVar[Bound] = "tanh"

    @classmethod
    def train(cls, job: TrainingJob, manipulator: Manipulator) -> Path:
        """Trains against ``manipulator``; see :mod:`protectors.ars_training`."""
        from protectors.ars_training import Untargeted, train

        return train(cls.build(), Untargeted(manipulator, job), job)
