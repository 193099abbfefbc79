"""What the learned protectors share: finding and loading their weights, protecting in one forward pass."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from arsbench.contracts import ArsbenchError, Manipulator, Protector
from arsbench.weights import load_weights

WEIGHTS = Path(__file__).parent / "weights"


def weights_folders() -> list[Path]:
    """Where weights are looked for: in the folder that ``ARSBENCH_WEIGHTS`` names, then among the shipped ones."""
    own = os.environ.get("ARSBENCH_WEIGHTS")
    return [*([Path(own)] if own else []), WEIGHTS]


class LearnedProtector(Protector):
    """A network trained against one manipulator: (x, epsilon) -> noises ``[B, 3, H, W]``, the last the protection.

    The network gives noise in units of epsilon, so that any epsilon can be asked for; it was trained at its card's.

    Raises:
        ArsbenchError: there are no weights against this manipulator, or they are damaged.
    """

    training: ClassVar[str]
    """``module:function`` of its training, a function of this class, the job and the manipulator."""

    def __init__(self, manipulator: Manipulator, epsilon: float = 0.3, seed: int = 0) -> None:
        super().__init__(manipulator, epsilon, seed)
        folders, stem = weights_folders(), self.stem(manipulator)
        folder = next((place for place in folders if (place / f"{stem}.json").is_file()), None)
        if folder is None:
            found = [path.stem for place in folders for path in place.glob(f"{self.name}--*.json")]
            have = sorted({name.split("--")[1] for name in found})
            raise ArsbenchError(
                f"protector '{self.name}' has no weights for manipulator '{manipulator.name}' in "
                f"{' or '.join(map(str, folders))}, only for: "
                f"{', '.join(have) or 'none'}; make them with: "
                f"arsbench train {self.name} --manipulator {manipulator.name}"
            )
        tensors, self.weights_sha256 = load_weights(folder, stem)
        self.network = self.build(manipulator.track)
        self.network.load_state_dict(tensors)
        self.network.eval().requires_grad_(False).to(manipulator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def stem(cls, manipulator: Manipulator) -> str:
        """The name of the weights against ``manipulator``."""
        return f"{cls.name}--{manipulator.name}--{manipulator.track}"

    @classmethod
    @abstractmethod
    def build(cls, track: str) -> nn.Module:
        """The network at its size on ``track``, with random weights."""

    @torch.no_grad()
    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x_p, same shape, within epsilon."""
        noise: Tensor = self.network(x, self.epsilon)[-1]
        return (x + noise).clamp(-1, 1)
