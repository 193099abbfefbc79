"""The manifest of a run: what was planned, on what machine, what failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arsbench.errors import ArsbenchError
from arsbench.labels import KEY

if TYPE_CHECKING:
    from arsbench.running.plan import Plan

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Failure:
    """Cells that could not be computed, and why; a field that is ``None`` stands for all of its kind."""

    sentence: str
    protector: str | None = None
    manipulator: str | None = None
    perturbation: str | None = None
    level: int | None = None

    def covers(self, label: tuple[str, str, str, int]) -> bool:
        """Whether the cell of that label is among them."""
        mine = (self.protector, self.manipulator, self.perturbation, self.level)
        return all(want is None or want == have for want, have in zip(mine, label, strict=True))


def read_manifest(run: str | Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        ArsbenchError: there is none, or it is not one.
    """
    path = Path(run) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        known = manifest["format"] == FORMAT and {"key", "protectors", "images"} <= manifest["plan"].keys()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArsbenchError(f"{run} is not a run: it has no {MANIFEST}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArsbenchError(f"{path} cannot be read; give another folder, or remove it and run again") from error
    if not known:
        raise ArsbenchError(f"{path} was written by another version of arsbench")
    return manifest


def failures_of(manifest: Mapping[str, Any]) -> list[Failure]:
    """The failures that a manifest records."""
    return [Failure(**entry) for entry in manifest["failures"]]


def failure_documents(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Failures as the manifest records them."""
    return [asdict(failure) for failure in failures]


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan as the manifest holds it."""
    return {
        "key": plan.key,
        "track": plan.track,
        "epsilon": plan.epsilon,
        "seed": plan.seed,
        "identity": plan.identity,
        "device": plan.device,
        "precision": plan.precision,
        "protectors": list(plan.protectors),
        "manipulators": list(plan.manipulators),
        "severities": [[t.perturbation, t.level, t.parameter] for t in plan.severities],
        "cells": [dict(zip((*KEY[:4], "key"), (*cell.label, cell.key), strict=True)) for cell in plan.cells],
        "images": {image.key: image.digest for image in plan.images},
        "protocol_hash": plan.protocol_hash,
    }


def difference(old: Mapping[str, Any], plan: Plan) -> str:
    """In words, the first thing in which a plan on disk is not ``plan``."""
    new = plan_document(plan)
    for name in (
        "track",
        "epsilon",
        "seed",
        "identity",
        "device",
        "precision",
        "protectors",
        "manipulators",
        "protocol_hash",
    ):
        if name in old and old[name] != new[name]:
            said = [", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in (old.get(name), new[name])]
            return f"{name.replace('_', ' ')}: {said[0]} there, {said[1]} here"
    if old.get("images") != new["images"]:
        return f"other images: {len(old.get('images', ()))} there, {len(plan.images)} here"
    if old.get("severities") != new["severities"]:
        return "other perturbations or levels"
    return "a method's code or weights have changed since"
