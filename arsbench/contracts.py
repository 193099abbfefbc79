"""The small interfaces every method implements, and the conventions they share.

Image conventions: float32 tensors ``[B, 3, H, W]``, RGB, values in [-1, 1]. A *key* is the string that names an image;
it is only ever hashed. Everything random about an image is drawn from its key, so that a number never depends on batch
size, order, workers or resuming.

What each package may import stands in docs/architecture.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from arsbench.errors import ArsbenchError

__all__ = ["ArsbenchError", "Levels", "Manipulator", "Metric", "Pair", "Perturbation", "Protector"]

Made = TypeVar("Made")


class Manipulator(ABC):
    """A face manipulation model G. Its output is raw: differentiable, unclamped, of the size it was given.

    Subclasses set ``name`` and ``track`` and write :meth:`manipulate`. One that has weights also overrides
    :meth:`set_up`, one that takes a condition c per image :meth:`conditions`.

    Args:
        device: where the model computes.
        condition: the condition for every image; ``None`` lets the key of each image choose one from the fixed list.
        condition_faces: the shipped validation faces ``[16, 3, H, W]`` that a condition is chosen from.
        condition_keys: their keys.
        random_weights: run the model at its full size with random weights, to measure speed; its numbers mean nothing.
    """

    name: ClassVar[str]
    track: ClassVar[str] = "open"
    weights_files: ClassVar[tuple[str | Path, ...]] = ()
    """The weights files it loads, each with its card beside it, as paths or ``PACKAGE:FILE``; for ``arsbench list``."""
    checkpoints: ClassVar[tuple[str, ...]] = ()
    """The checkpoints of the user's that it needs, by the names ``arsbench checkpoints list`` gives them."""
    training: ClassVar[str | None] = None
    """The function that trains it, ``module:function``; it takes a :class:`~arsbench.training.job.TrainingJob`."""
    weights_sha256: str | None = None
    """Hash of the weights in use, for the cache of references and the manifest; ``None`` where there are none."""
    thread_safe: ClassVar[bool] = False
    """True promises that several threads may call ``manipulate`` at once: no call changes what another one sees. A
    subclass makes the promise anew."""
    float64: ClassVar[bool] = False
    """True promises that a copy whose modules and tensors are float64 manipulates float64 pictures: the gradient
    attacks then climb in float64, and end in the same picture on every processor. A subclass makes the promise anew."""

    def __init__(
        self,
        device: str | torch.device = "cpu",
        condition: Any = None,
        condition_faces: Tensor | None = None,
        condition_keys: Sequence[str] = (),
        random_weights: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.condition = condition
        self.condition_faces = condition_faces
        self.condition_keys = list(condition_keys)
        self.random_weights = random_weights
        self.set_up()

    def set_up(self) -> None:  # noqa: B027 - a model without weights has nothing to load
        """Loads what :meth:`manipulate` needs, onto ``self.device``; called once, by the constructor.

        Raises:
            ArsbenchError: the condition cannot be used, or weights are missing or damaged.
        """

    @abstractmethod
    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> ``y`` [B, 3, H, W], raw and differentiable in ``x``."""

    def conditions(self, keys: Sequence[str]) -> list[str]:
        """The name of each image's condition, as it stands in the rows; empty strings where G takes none."""
        return [""] * len(keys)

    @classmethod
    def on(cls, track: str) -> type[Manipulator] | None:
        """The class that is this manipulator on ``track``: itself, a subclass of the same name, or ``None``."""
        return next((c for c in (cls, *cls.__subclasses__()) if (c.name, c.track) == (cls.name, track)), None)

    def aim(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """Whom the forger wants to see, ``[B, 3, H, W]``: x itself, or the source face of a swap."""
        return x


class Protector(ABC):
    """Makes the protected picture x_p = P(x, G, epsilon) with |x_p - x|_inf <= epsilon, in [-1, 1] units.

    Args:
        manipulator: the model G that is protected against.
        epsilon: the L_inf budget in [-1, 1] units.
        seed: enters the random draws of the method, together with each image's key.
    """

    name: ClassVar[str]
    ceiling: ClassVar[bool] = False
    """True for a control that stands for a perfect protection: its y_p is all white, nothing is computed."""
    thread_safe: ClassVar[bool] = False
    """True promises that several threads may call ``protect`` at once: no call changes what another one sees, and
    random draws come from the keys alone, never from a global generator. On a CPU small pictures are then protected
    side by side, a core for each. A subclass makes the promise anew."""

    def __init__(self, manipulator: Manipulator, epsilon: float = 0.3, seed: int = 0) -> None:
        self.manipulator = manipulator
        self.epsilon = float(epsilon)
        self.seed = int(seed)

    @abstractmethod
    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> ``x_p`` of the same shape and range."""


Levels = tuple[float, ...]


class Perturbation(ABC):
    """What a platform does to a picture: a pure function of image, parameter and key, in five levels.

    ``levels`` holds the parameter of each level, weakest first: one tuple for all tracks, or one per track.
    """

    name: ClassVar[str]
    levels: ClassVar[Levels | dict[str, Levels]]
    weights_sha256: str | None = None
    """SHA-256 of its weights, where it has any: with it they enter the keys that rows are known by."""
    thread_safe: ClassVar[bool] = False
    """True promises that several threads may call ``perturb`` at once: no call changes what another one sees, and
    random draws come from the keys alone, never from a global generator. On a CPU the levels of small pictures are then
    evaluated side by side, a core for each. A subclass makes the promise anew."""

    @abstractmethod
    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] delivered, in [-1, 1] -> the perturbed picture, same shape; the harness delivers it."""

    def differentiable(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        """The twin for training and attacks; :meth:`perturb` itself unless that has no useful gradient."""
        return self.perturb(x, parameter, keys)

    @classmethod
    def track_levels(cls, track: str) -> Levels:
        """The parameters of levels 1 to 5 on ``track``.

        Raises:
            ArsbenchError: the perturbation defines no levels for that track.
        """
        if not isinstance(cls.levels, dict):
            return tuple(cls.levels)
        if track not in cls.levels:
            known = ", ".join(sorted(cls.levels))
            raise ArsbenchError(f"perturbation '{cls.name}' has no levels for track '{track}'; it has: {known}")
        return tuple(cls.levels[track])


@dataclass(frozen=True)
class Pair:
    """One batch of a cell, as a metric sees it; every picture ``[B, 3, H, W]``, clamped to [-1, 1].

    Attributes:
        y: the reference G(p(x)).
        y_p: the protected output G(p(x_p)).
        x: the source face.
        x_p: the protected face, delivered.
        y_clean: G(x), without perturbation.
        px: p(x), delivered.
        px_p: p(x_p), delivered.
        seen: the face descriptors of y_p, float64 ``[B, D]``.
        aim: the descriptors of the face that the forger aims at, likewise.
        known: by a picture's name, what was computed of it before, for :meth:`of`.
    """

    y: Tensor
    y_p: Tensor
    x: Tensor | None = None
    x_p: Tensor | None = None
    y_clean: Tensor | None = None
    px: Tensor | None = None
    px_p: Tensor | None = None
    seen: Tensor | None = None
    aim: Tensor | None = None
    known: dict[str, dict[object, Any]] = field(default_factory=dict, repr=False, compare=False)
    _computed: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def pictures(self) -> dict[str, Tensor]:
        """The pictures that are there, by name."""
        names = ("y", "y_p", "x", "x_p", "y_clean", "px", "px_p")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def once(self, function: Callable[[Pair], Made]) -> Made:
        """``function(self)``, computed once: several metrics are made of the same number."""
        if function not in self._computed:
            self._computed[function] = function(self)
        made: Made = self._computed[function]
        return made

    def of(self, name: str, function: Callable[[Tensor], Made]) -> Made:
        """``function`` of the picture of that name, computed once for all pairs that know the same of it."""
        known = self.known.setdefault(name, {})
        if function not in known:
            known[function] = function(getattr(self, name))
        made: Made = known[function]
        return made


class Metric(ABC):
    """One number per image. Tables, the rows' columns and the protocol take what they say of it from the class."""

    name: ClassVar[str]
    """As it stands in the rows."""
    version: ClassVar[int] = 1
    """A changed definition gets a new version."""
    definition: ClassVar[str]
    """What the number is; hashed with the protocol."""
    higher_is_better: ClassVar[bool]
    """Whether a protection is the better, the higher it is."""
    range: ClassVar[tuple[float, float]]
    """The least and the largest value."""

    @abstractmethod
    def measure(self, pair: Pair) -> Tensor | None:
        """``[B]`` float values, or ``None`` when an input that the metric needs is missing."""
