"""What removals share: attempts to take a protection off a picture again, at five strengths."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from arsbench.contracts import Levels, Perturbation


class Removal(Perturbation):
    """x + p (r(x) - x) with r the removal and p the parameter; the strongest level is the removal itself."""

    levels: ClassVar[Levels] = (0.2, 0.4, 0.6, 0.8, 1.0)

    @abstractmethod
    def remove(self, x: Tensor) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the picture without what was added to it, as far as it can be told."""

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the same range."""
        return x + parameter * (self.remove(x) - x)
