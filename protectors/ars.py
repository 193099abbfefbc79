"""ARS: learned two-way protection in one forward pass (Guan et al. 2024)."""

from __future__ import annotations

from typing import ClassVar

from arsbench.protectors.learned import LearnedProtector
from arsbench.protectors.networks.ars import ArsNetwork, Bound

CHANNELS = 16
"""C of equations 4 and 5, 128 in the paper."""


class ARS(LearnedProtector):
    """Trained by equations 2 to 10 with the perturbation module and the adversarial net.

    Where the paper minimises a distance to white, the open track's weights maximise the distance from y: no noise
    within the budget makes its manipulators white.
    """

    name = "ars"
    thread_safe: ClassVar[bool] = True
    training: ClassVar[str] = "arsbench.protectors.training.ars:train"
    base: ClassVar[int] = 16
    bound: ClassVar[Bound] = "clip"
    two_way: ClassVar[bool] = True
    """False leaves f alone to protect, without g1, g_n and g2."""
    perturbed: ClassVar[bool] = True
    """Whether training knows the perturbation module p."""
    adversarial: ClassVar[bool] = True
    """Whether training knows the adversarial net q."""

    @classmethod
    def build(cls, track: str) -> ArsNetwork:
        """The two-way network, with random weights; of one size on both tracks."""
        return ArsNetwork(cls.base, CHANNELS, cls.bound, cls.two_way)


class ARSWhite(ARS):
    """With the paper's own target, the white picture."""

    name = "ars_white"
    thread_safe: ClassVar[bool] = True
    training: ClassVar[str] = "arsbench.protectors.training.ars:train_white"


class ARSTuned(ARS):
    """The same network trained on the board's own perturbations, for the three thresholds of ``sr_strict``. Ours."""

    name = "ars_tuned"
    thread_safe: ClassVar[bool] = True
    training: ClassVar[str] = "arsbench.protectors.training.tuned:train"
    base: ClassVar[int] = 24
    bound: ClassVar[Bound] = "tanh"
