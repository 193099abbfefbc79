"""The cross product as cells, and the content key of each: a hash over everything that determines its numbers."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor

from arsbench.contracts import ArsbenchError, Manipulator, Perturbation, Protector
from arsbench.labels import Label
from arsbench.registry import Method
from arsbench.running.checks import check_epsilon

UNPERTURBED = "none"
"""The perturbation's name at level 0."""


def content_key(**parts: Any) -> str:
    """Hash of named values, as 32 hexadecimal digits; the same on every machine."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Image:
    """One picture of a run: the key that names it, and the SHA-256 of its delivered pixels."""

    key: str
    digest: str

    @cached_property
    def content_key(self) -> str:
        """Hash of both."""
        return content_key(image=[self.key, self.digest])


@dataclass(frozen=True)
class Severity:
    """What happens to a picture before the manipulator sees it: one perturbation at one level, or nothing at level 0.

    Attributes:
        perturbation: its name; ``none`` at level 0.
        level: 0 to 5.
        parameter: the level's parameter; ``None`` at level 0.
        source: the identity of the perturbation's code and weights.
    """

    perturbation: str = UNPERTURBED
    level: int = 0
    parameter: float | None = None
    source: str = ""

    @property
    def label(self) -> tuple[str, int]:
        """Its perturbation and level, as they stand in the rows."""
        return self.perturbation, self.level

    @property
    def identity(self) -> list[Any]:
        """What the content keys take from it."""
        return [self.perturbation, self.level, self.parameter, self.source]


class Protection(NamedTuple):
    """What is done to a picture before anything else: a protector at a budget.

    Attributes:
        protector: its name.
        epsilon: the L_inf budget in [-1, 1] units; ``None`` for a ceiling, which has none.
        trained_on: the manipulator that it was made against; empty where it is the one that it is evaluated on.
    """

    protector: str
    epsilon: float | None = None
    trained_on: str = ""


@dataclass(frozen=True)
class Cell:
    """One protection against one manipulator under one severity; ``key`` is its content key."""

    protection: Protection
    manipulator: str
    severity: Severity
    key: str

    @property
    def protector(self) -> str:
        """The protector's name."""
        return self.protection.protector

    @property
    def label(self) -> Label:
        """Its names, as they stand in the rows."""
        protector, epsilon, trained_on = self.protection
        return protector, self.manipulator, *self.severity.label, epsilon or 0.0, trained_on


@dataclass(frozen=True)
class Plan:
    """What a run computes: every cell on every image.

    Attributes:
        protocol_hash: of the definitions.
        track: ``open`` or ``paper``.
        epsilons: L_inf budgets, [-1, 1] units, ascending.
        seed: of the protectors' draws.
        device: ``cpu`` or ``cuda``: a run is not continued on another kind of device.
        protectors: names, in the order of the tables.
        manipulators: names.
        severities: level 0 first.
        images: in the order of the faces' source.
        cells: by protector, epsilon, what it was made against, manipulator, severity.
        references: manipulator -> its part of the key of a cached reference.
        identity: SHA-256 of the recogniser's weights where the rows have identity columns, else ``None``.
        precision: of the manipulators' passes, ``float32`` or ``bfloat16``.
        trained_on: the manipulators that the protectors were made against; empty where each is made against the one
            that it is evaluated on.
    """

    protocol_hash: str
    track: str
    epsilons: tuple[float, ...]
    seed: int
    device: str
    protectors: tuple[str, ...]
    manipulators: tuple[str, ...]
    severities: tuple[Severity, ...]
    images: tuple[Image, ...]
    cells: tuple[Cell, ...]
    references: Mapping[str, str]
    identity: str | None = None
    precision: str = "float32"
    trained_on: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """The run's content key."""
        return content_key(
            cells=[cell.key for cell in self.cells],
            images=[[image.key, image.digest] for image in self.images],
            device=self.device,
        )

    @property
    def budget(self) -> str:
        """The budgets in words: ``0.3``, or ``0.1, 0.3, 0.5``."""
        return ", ".join(f"{epsilon:g}" for epsilon in self.epsilons)

    def protections(self, manipulator: str) -> tuple[Protection, ...]:
        """Those that are evaluated on a manipulator, in plan order."""
        return tuple(dict.fromkeys(cell.protection for cell in self.cells if cell.manipulator == manipulator))

    def reference_key(self, manipulator: str, severity: Severity) -> str:
        """The content key of y = G(deliver(p_l(x)), c), of whatever image."""
        return content_key(manipulator=self.references[manipulator], severity=severity.identity, device=self.device)

    def input_key(self, severity: Severity) -> str:
        """The content key of deliver(p_l(x)), of whatever image."""
        return content_key(
            protocol=self.protocol_hash, track=self.track, severity=severity.identity, device=self.device
        )


def severities_of(
    perturbations: Sequence[tuple[Method, Perturbation]], levels: Sequence[int], track: str
) -> tuple[Severity, ...]:
    """No perturbation first, then each perturbation at each level above 0.

    Raises:
        ArsbenchError: a perturbation has no levels for the track.
    """
    severities = [Severity()]
    for method, perturbation in perturbations:
        parameters, source = perturbation.track_levels(track), perturbation_identity(method, perturbation)
        severities += [
            Severity(method.name, level, float(parameters[level - 1]), source) for level in levels if level > 0
        ]
    return tuple(severities)


def perturbation_identity(method: Method, perturbation: Perturbation) -> str:
    """Code and weights of a perturbation; its code alone where it has no weights."""
    digest = getattr(perturbation, "weights_sha256", None)
    return f"{method.source} {digest}" if digest else method.source


def manipulator_identity(method: Method, model: Manipulator) -> list[Any]:
    """Code, weights and condition setting of a manipulator."""
    return [method.name, method.source, model.weights_sha256, condition_identity(model)]


def protector_identity(method: Method, protector: Protector) -> list[Any]:
    """Code and weights of a protector."""
    return [method.name, method.source, getattr(protector, "weights_sha256", None)]


def condition_identity(model: Manipulator) -> str:
    """The condition setting as text; tensors by the hash of their values."""
    condition, faces = model.condition, model.condition_faces
    if isinstance(condition, Tensor):
        return "given " + _tensor_hash(condition)
    if condition is not None:
        return f"{type(condition).__name__} {condition}"
    return "by key" if faces is None else f"by key from {_tensor_hash(faces)} {model.condition_keys}"


def _tensor_hash(value: Tensor) -> str:
    array = value.detach().cpu().contiguous().numpy()
    return hashlib.sha256(f"{array.shape} {array.dtype}".encode() + array.tobytes()).hexdigest()


def make_plan(
    protocol_hash: str,
    track: str,
    epsilon: float | Sequence[float],
    seed: int,
    device: str,
    protectors: Mapping[str, Mapping[str, list[Any]]],
    manipulators: Mapping[str, list[Any]],
    severities: Sequence[Severity],
    images: Sequence[Image],
    identity: str | None = None,
    precision: str = "float32",
    trained_on: Mapping[str, list[Any]] | None = None,
    ceilings: Collection[str] = (),
    blind: Collection[str] = (),
) -> Plan:
    """The plan of a run.

    Args:
        protocol_hash: of the definitions.
        track: ``open`` or ``paper``.
        epsilon: L_inf budget, positive, or several.
        seed: of the protectors' draws.
        device: ``cpu`` or ``cuda``.
        protectors: protector -> manipulator that it is made against -> its identity.
        manipulators: manipulator -> its identity.
        severities: see :func:`severities_of`.
        images: keys must differ.
        identity: see :class:`Plan`.
        precision: see :class:`Plan`.
        trained_on: manipulator -> its identity, of those that every protector is made against; ``None``: the one that
            it is evaluated on.
        ceilings: the protectors that have no budget.
        blind: the protectors that do not look at the manipulator, and so are never made against another one.

    Raises:
        ArsbenchError: epsilon is no positive number, there are no images, or two share a key.
    """
    epsilons = tuple(epsilon) if isinstance(epsilon, list | tuple) else (epsilon,)
    for budget in epsilons:
        check_epsilon(budget)
    epsilons = tuple(sorted({float(budget) for budget in epsilons}))
    if not images:
        raise ArsbenchError("there are no images to run on; give at least one")
    if len({image.key for image in images}) < len(images):
        raise ArsbenchError("two images share a key; every picture of a run needs a key of its own")
    common = {"protocol": protocol_hash, "track": track}
    if precision != "float32":
        common["precision"] = precision
    # A run without identity columns keeps the key it had before there were any.
    with_identity = {} if identity is None else {"identity": identity}
    cells = []
    for protector in protectors:
        # A ceiling is the same at every budget; its key keeps the first, as in a run of one.
        budgets = epsilons[:1] if protector in ceilings else epsilons
        makers = [""] if trained_on is None or protector in blind else list(trained_on)
        for budget, maker, manipulator, severity in itertools.product(budgets, makers, manipulators, severities):
            transfer = "" if maker == manipulator else maker
            key = content_key(
                **common,
                protector=protectors[protector][transfer or manipulator],
                manipulator=manipulators[manipulator],
                severity=severity.identity,
                epsilon=budget,
                seed=seed,
                **with_identity,
                **({"trained_on": (trained_on or {})[transfer]} if transfer else {}),
            )
            protection = Protection(protector, None if protector in ceilings else budget, transfer)
            cells.append(Cell(protection, manipulator, severity, key))
    references = {name: content_key(**common, manipulator=identity) for name, identity in manipulators.items()}
    return Plan(
        protocol_hash,
        track,
        epsilons,
        seed,
        device,
        tuple(protectors),
        tuple(manipulators),
        tuple(severities),
        tuple(images),
        tuple(cells),
        references,
        identity,
        precision,
        tuple(trained_on or ()),
    )
