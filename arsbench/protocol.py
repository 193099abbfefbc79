"""Every number that defines a result, as one frozen, versioned object with its hash.

The definitions stand where they are used - metrics and thresholds in :mod:`arsbench.scoring`, levels on the
perturbation classes, splits in :mod:`arsbench.faces.shipped` - and are collected here. Two results are compared only
where their hashes agree. The hash does not cover epsilon, the number of images and the seed, which are part of a
cell's key.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from PIL import features

from arsbench import registry
from arsbench.contracts import ArsbenchError, Perturbation
from arsbench.draws import PROTOCOL_NAME
from arsbench.faces import delivery, shipped
from arsbench.named_sets import (
    DEFAULT_SET,
    FURTHER_SETS,
    MANIPULATORS,
    PERTURBATION_SETS,
    PROTECTORS,
    TRACK_SIZES,
)
from arsbench.scoring import controls
from arsbench.scoring.amplification import AMPLIFICATION_THRESHOLD
from arsbench.scoring.lpips import TRUNK
from arsbench.scoring.metrics import METRICS
from arsbench.scoring.sr import SR_THRESHOLD
from arsbench.scoring.sr_mask import MASK_THRESHOLD
from arsbench.scoring.unrecovered import UNRECOVERED_THRESHOLD
from arsbench.shipped import FOLDER

TRACKS = TRACK_SIZES


@dataclass(frozen=True)
class Protocol:
    """The definitions of one track. Everything here enters the hash.

    Attributes:
        name: the protocol's version, which also enters every random draw.
        track: ``open`` or ``paper``.
        size: side of the pictures in pixels.
        delivery: how pictures are stored.
        budget_tolerance: by how much a delivered picture may exceed epsilon.
        metrics: name, version and definition.
        thresholds: of the metrics.
        lpips_sha256: of the trunk's weights.
        perturbations: parameters of levels 1 to 5 of the named sets' members that are registered.
        sets: named sets of perturbations.
        levels: that ``all`` stands for.
        protectors: the protocol's table.
        manipulators: of the protocol.
        controls: in every run.
        control_limits: beyond which a run is void.
        splits: first and last-but-one seed of each split.
        condition_faces: seeds of the faces that conditions are chosen from.
    """

    name: str
    track: str
    size: int
    delivery: str
    budget_tolerance: float
    metrics: tuple[tuple[str, int, str], ...]
    thresholds: tuple[tuple[str, float], ...]
    lpips_sha256: str
    perturbations: tuple[tuple[str, tuple[float, ...]], ...]
    sets: tuple[tuple[str, tuple[str, ...]], ...]
    levels: tuple[int, ...]
    protectors: tuple[str, ...]
    manipulators: tuple[str, ...]
    controls: tuple[str, ...]
    control_limits: tuple[tuple[str, float], ...]
    splits: tuple[tuple[str, int, int], ...]
    condition_faces: tuple[int, ...]

    @property
    def hash(self) -> str:
        """SHA-256 over all definitions, 64 hexadecimal digits."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """The protocol as the manifest holds it, with its hash."""
        return {**asdict(self), "hash": self.hash}


@functools.cache
def protocol(track: str = "open") -> Protocol:
    """The protocol of a track, collected from the code.

    Raises:
        ArsbenchError: there is no such track, or a registered perturbation of the protocol cannot be loaded.
    """
    if track not in TRACKS:
        raise registry.unknown("track", track, TRACKS)
    return Protocol(
        name=PROTOCOL_NAME,
        track=track,
        size=TRACKS[track],
        delivery="round((clip(x, -1, 1) + 1) * 127.5) / 127.5 - 1",
        budget_tolerance=delivery.TOLERANCE,
        metrics=tuple((metric.name, metric.version, metric.definition) for metric in METRICS),
        thresholds=(
            ("sr", SR_THRESHOLD),
            ("mask", MASK_THRESHOLD),
            ("unrecovered", UNRECOVERED_THRESHOLD),
            ("amplification", AMPLIFICATION_THRESHOLD),
        ),
        lpips_sha256=_lpips_sha256(),
        perturbations=tuple((name, _levels(name, track)) for name in _set_members()),
        sets=tuple(PERTURBATION_SETS.items()),
        levels=registry.LEVELS,
        protectors=PROTECTORS,
        manipulators=MANIPULATORS,
        controls=controls.CONTROLS,
        control_limits=(("none mse", controls.NONE_MSE), ("noise sr", controls.NOISE_SR)),
        splits=tuple((name, seeds.start, seeds.stop) for name, seeds in shipped.SPLITS.items()),
        condition_faces=tuple(shipped.CONDITION_SEEDS),
    )


def _lpips_sha256() -> str:
    """From the trunk's card, against which the trunk is checked whenever it is loaded."""
    path = FOLDER / f"{TRUNK}.json"
    try:
        return str(json.loads(path.read_text())["sha256"])
    except (OSError, ValueError, KeyError) as error:
        raise ArsbenchError(f"the card {path} cannot be read; install arsbench again") from error


def _set_members() -> list[str]:
    """The members of the named sets that are registered, each once."""
    registered = set(registry.names("perturbation"))
    return [name for name in dict.fromkeys(sum(PERTURBATION_SETS.values(), ())) if name in registered]


def _levels(name: str, track: str) -> tuple[float, ...]:
    cls: type[Perturbation] = registry.find("perturbation", name).cls
    return tuple(float(parameter) for parameter in cls.track_levels(track))


def groups(kind: str) -> Mapping[str, tuple[str, ...]]:
    """What ``all`` and the named sets stand for, of ``protector``, ``perturbation`` or ``manipulator``."""
    registered = set(registry.names(kind))
    table = {"protector": PROTECTORS, "manipulator": MANIPULATORS, "perturbation": PERTURBATION_SETS[DEFAULT_SET]}[kind]
    sets = {**PERTURBATION_SETS, **_further_sets()} if kind == "perturbation" else {}
    return {"all": tuple(name for name in table if name in registered), **sets}


def _further_sets() -> dict[str, tuple[str, ...]]:
    """Those of :data:`FURTHER_SETS`, without the codec that this machine's Pillow lacks."""
    lacking = set() if features.check("avif") else {"avif"}
    return {name: tuple(one for one in members if one not in lacking) for name, members in FURTHER_SETS.items()}


def check_track(track: str) -> None:
    """Raises ArsbenchError unless there is such a track."""
    if track not in TRACKS:
        raise (
            registry.unknown("track", track, TRACKS)
            if isinstance(track, str)
            else ArsbenchError(f"{track!r} is no track")
        )
