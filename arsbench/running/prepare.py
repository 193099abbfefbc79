"""Finds every name, file and number of a run usable, before anything is computed."""

from __future__ import annotations

import functools
import itertools
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arsbench import registry
from arsbench.contracts import ArsbenchError, Manipulator, Perturbation, Protector
from arsbench.face_networks.loading import load_face_recogniser, recogniser_sha256
from arsbench.faces.folder import FolderFaces
from arsbench.faces.sources import FaceSource
from arsbench.faces.tracks import faces_of
from arsbench.protocol import TRACKS, check_track, groups, protocol
from arsbench.registry import Method, Names
from arsbench.running.bench import Bench
from arsbench.running.checks import check_number, parse_epsilons
from arsbench.running.loading import choose_device, make_manipulator, make_perturbation, make_protector
from arsbench.running.made_once import MadeOnce
from arsbench.running.plan import Image, Plan, make_plan, manipulator_identity, protector_identity, severities_of
from arsbench.running.protect import group_size
from arsbench.running.provenance import PACKAGES, git_revision, jpeg_library, version_of
from arsbench.running.references import ReferenceCache
from arsbench.running.settings import IMAGES, PRECISIONS, WEIGHTS, Settings
from arsbench.running.store import check_writable
from arsbench.scoring.scorer import Scorer

RUNS = Path("runs")
"""Runs without a folder of their own lie here, by content key."""


@dataclass(frozen=True)
class Prepared:
    """A run whose every name, file and number has been found usable; nothing has been computed yet.

    Attributes:
        plan: its cells and images.
        source: the faces.
        device: where it computes.
        manipulators: those that are evaluated and those that are protected against, by name.
        protectors: by name, by the manipulator that each was made against, and by epsilon.
        perturbations: by name.
        origins: kind -> name -> where the method came from.
        notes: what loading and making the methods disturbed, in sentences.
    """

    plan: Plan
    source: FaceSource
    device: torch.device
    manipulators: Mapping[str, Manipulator]
    protectors: Mapping[tuple[str, str, float | None], Protector]
    perturbations: Mapping[str, Perturbation]
    origins: Mapping[str, Mapping[str, str]]
    notes: Sequence[str] = ()

    def bench(self, name: str, cache: ReferenceCache) -> Bench:
        """The bench of one manipulator."""
        return Bench(
            plan=self.plan,
            manipulator_name=name,
            manipulator=self.manipulators[name],
            protectors={
                protection: self.protectors[protection.protector, protection.trained_on or name, protection.epsilon]
                for protection in self.plan.protections(name)
            },
            perturbations=self.perturbations,
            scorer=Scorer(self.manipulators[name].device),
            cache=cache,
            made_once=self._made_once,
            recogniser=None if self.plan.identity is None else load_face_recogniser(self.device),
        )

    @functools.cached_property
    def _made_once(self) -> MadeOnce | None:
        return MadeOnce() if self.plan.trained_on else None

    def header(self) -> dict[str, Any]:
        """What the manifest says beside the plan."""
        gpu = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else None
        return {
            "protocol": protocol(self.plan.track).document(),
            "protocol_hash": self.plan.protocol_hash,
            "track": self.plan.track,
            "names": {
                "protectors": list(self.plan.protectors),
                "manipulators": list(self.plan.manipulators),
                "perturbations": list(self.perturbations),
                "levels": sorted({severity.level for severity in self.plan.severities}),
            },
            "faces": str(self.source.folder) if isinstance(self.source, FolderFaces) else None,
            "origins": {kind: dict(names) for kind, names in self.origins.items()},
            "versions": {
                "python": platform.python_version(),
                **{name: version_of(name) for name in PACKAGES},
                "jpeg": jpeg_library(),
            },
            "git_revision": git_revision(),
            "epsilons": list(self.plan.epsilons),
            "trained_on": list(self.plan.trained_on),
            "seeds": {"run": self.plan.seed},
            "device": {"type": self.device.type, "name": gpu or platform.processor() or platform.machine()},
            "precision": self.plan.precision,
            "protected_together": group_size(self.device, self.source.size),
            "weights": "random" if any(model.random_weights for model in self.manipulators.values()) else "own",
            "weights_sha256": self._weights(),
            "void": {},
            "ended": None,
        }

    def _weights(self) -> dict[str, str]:
        found: dict[str, str | None] = {
            f"manipulator {name}": model.weights_sha256 for name, model in self.manipulators.items()
        }
        for (protector, name, _), made in self.protectors.items():
            found[f"protector {protector} against {name}"] = getattr(made, "weights_sha256", None)
        for perturbation, own in self.perturbations.items():
            found[f"perturbation {perturbation}"] = getattr(own, "weights_sha256", None)
        found["lpips"] = protocol(self.plan.track).lpips_sha256
        if self.plan.identity is not None:
            found["recogniser"] = self.plan.identity
        return {name: digest for name, digest in found.items() if digest}


def prepare(settings: Settings, check_folder: bool = False) -> Prepared:
    """Finds every name, file and number of a run usable, before anything is computed.

    Raises:
        ArsbenchError: the first that is not.
    """
    check_track(settings.track)
    epsilons = parse_epsilons(settings.epsilon)
    check_number("seed", settings.seed, -(2**63))
    if settings.batch is not None:
        check_number("batch", settings.batch, 1)
    if settings.images is not None:
        check_number("images", settings.images, 1)
    if settings.weights not in WEIGHTS:
        raise registry.unknown("weights", str(settings.weights), WEIGHTS)
    if settings.precision not in PRECISIONS:
        raise registry.unknown("precision", str(settings.precision), PRECISIONS)
    device = choose_device(settings.device)
    definitions = protocol(settings.track)
    perturbations, levels = _perturbations(settings), registry.parse_levels(settings.level)
    protectors = registry.resolve(
        "protector", [*_as_list(settings.protector), *definitions.controls], groups("protector")
    )
    manipulators = registry.resolve("manipulator", settings.manipulator, groups("manipulator"))
    makers = (
        None
        if settings.trained_on is None
        else registry.resolve("manipulator", settings.trained_on, groups("manipulator"))
    )
    if check_folder:
        _check_place(settings.out)
    source = _faces(settings)
    random = settings.weights == "random"
    notes = [note for method in (*protectors, *manipulators, *(makers or ()), *perturbations) for note in method.notes]
    perturbed = {method.name: make_perturbation(method, notes.extend) for method in perturbations}
    severities = severities_of([(m, perturbed[m.name]) for m in perturbations], levels, settings.track)
    models = {
        method.name: make_manipulator(method, settings.track, device, random_weights=random, note=notes.extend)
        for method in {m.name: m for m in (*manipulators, *(makers or ()))}.values()
    }
    ceilings = {method.name for method in protectors if method.cls.ceiling}
    blind = set(definitions.controls)
    made = {}
    for method in protectors:
        against = manipulators if makers is None or method.name in blind else makers
        for name, epsilon in itertools.product([m.name for m in against], epsilons):
            budget = None if method.name in ceilings else epsilon
            if (method.name, name, budget) not in made:
                made[method.name, name, budget] = make_protector(
                    method, models[name], epsilon, settings.seed, notes.extend
                )
    by_name = {method.name: method for method in protectors}
    identities: dict[str, dict[str, list[Any]]] = {name: {} for name in by_name}
    for (protector, name, _), one in made.items():
        identities[protector][name] = protector_identity(by_name[protector], one)
    plan = make_plan(
        definitions.hash,
        settings.track,
        epsilons,
        settings.seed,
        device.type,
        identities,
        {m.name: manipulator_identity(m, models[m.name]) for m in manipulators},
        severities,
        [Image(key, source.digest(index)) for index, key in enumerate(source.keys)],
        recogniser_sha256() if settings.identity else None,
        settings.precision,
        None if makers is None else {m.name: manipulator_identity(m, models[m.name]) for m in makers},
        ceilings,
        blind,
    )
    origins = {
        f"{kind}s": {method.name: method.origin for method in methods}
        for kind, methods in (
            ("protector", protectors),
            ("manipulator", [*manipulators, *(makers or ())]),
            ("perturbation", perturbations),
        )
    }
    return Prepared(plan, source, device, models, made, perturbed, origins, tuple(dict.fromkeys(notes)))


def _perturbations(settings: Settings) -> list[Method]:
    if settings.perturbation == "none":
        return []
    return registry.resolve("perturbation", settings.perturbation, groups("perturbation"))


def _as_list(given: Names) -> list[str | type]:
    return [given] if isinstance(given, str | type) else list(given)


def _faces(settings: Settings) -> FaceSource:
    if settings.faces is None:
        n = IMAGES if settings.images is None else settings.images
        return faces_of(settings.track, "test", n, stand_in=settings.weights == "random")
    return FolderFaces(settings.faces, TRACKS[settings.track], settings.skip_bad, settings.images)


def _check_place(out: str | Path | None) -> None:
    """The folder is tried before anything is loaded; without one, whether it could be made."""
    if out is not None:
        check_writable(Path(out))
        return
    place = RUNS if RUNS.exists() else RUNS.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ArsbenchError(f"the output folder {RUNS.resolve()} cannot be written; give another --out")
