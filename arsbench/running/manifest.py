"""The manifest of a run: what was planned, on what machine, what failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arsbench.errors import ArsbenchError
from arsbench.labels import Label, label_of

if TYPE_CHECKING:
    from arsbench.running.plan import Plan

MANIFEST = "manifest.json"
FORMAT = 1
TOO = " (name those there, too, to add to them)"


@dataclass(frozen=True)
class Failure:
    """Cells that could not be computed, and why; a field that is ``None`` stands for all of its kind."""

    sentence: str
    protector: str | None = None
    manipulator: str | None = None
    perturbation: str | None = None
    level: int | None = None
    epsilon: float | None = None
    trained_on: str | None = None

    def covers(self, label: Label) -> bool:
        """Whether the cell of that label is among them."""
        mine = (self.protector, self.manipulator, self.perturbation, self.level, self.epsilon, self.trained_on)
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
        if known:
            _check(manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArsbenchError(f"{run} is not a run: it has no {MANIFEST}") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ArsbenchError(f"{path} cannot be read; give another folder, or remove it and run again") from error
    if not known:
        raise ArsbenchError(f"{path} was written by another version of arsbench")
    return manifest


def _check(manifest: Mapping[str, Any]) -> None:
    """Raises ValueError, LookupError, TypeError or AttributeError where what its readers take from it is not there."""
    plan = manifest["plan"]
    kinds = (str, str, str, int, int | float, str)
    for label, key in cell_keys(plan).items():
        if not isinstance(key, str) or not all(map(isinstance, label, kinds)):
            raise ValueError("a cell's names are of another kind")
    if not all(isinstance(epsilon, int | float) for epsilon in epsilons_of(plan)):
        raise ValueError("a budget is no number")
    if not all(isinstance(digest, str) for digest in plan["images"].values()):
        raise ValueError("an image's digest is no text")
    for name in ("protectors", "manipulators"):
        if not all(isinstance(entry, str) for entry in plan[name]):
            raise ValueError(f"the {name} are no texts")
    for failure in failures_of(manifest):
        if not isinstance(failure.sentence, str):
            raise ValueError("a failure is no text")
    for verdict in manifest.get("void", {}).values():
        verdict["void"], verdict["reason"]
    if not isinstance(manifest["starts"], list) or not isinstance(manifest.get("versions", {}), dict):
        raise ValueError("the starts or versions are of another kind")
    plan["track"], plan["protocol_hash"]


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
        "epsilons": list(plan.epsilons),
        "seed": plan.seed,
        "identity": plan.identity,
        "device": plan.device,
        "precision": plan.precision,
        "protectors": list(plan.protectors),
        "manipulators": list(plan.manipulators),
        "trained_on": list(plan.trained_on),
        "severities": [[t.perturbation, t.level, t.parameter] for t in plan.severities],
        "cells": [
            {
                "protector": cell.protector,
                "manipulator": cell.manipulator,
                "perturbation": cell.severity.perturbation,
                "level": cell.severity.level,
                "epsilon": cell.protection.epsilon,
                "trained_on": cell.protection.trained_on,
                "key": cell.key,
            }
            for cell in plan.cells
        ],
        "images": {image.key: image.digest for image in plan.images},
        "protocol_hash": plan.protocol_hash,
    }


def epsilons_of(document: Mapping[str, Any]) -> list[float]:
    """The budgets of a plan as a manifest holds it; an older one holds a single ``epsilon``."""
    return list(document["epsilons"]) if "epsilons" in document else [document["epsilon"]]


def cell_keys(document: Mapping[str, Any]) -> dict[Label, str]:
    """The content key of every cell of a plan as a manifest holds it."""
    older = document.get("epsilon")
    return {label_of(cell, older): cell["key"] for cell in document["cells"]}


def holds_part_of(old: Mapping[str, Any], plan: Plan) -> bool:
    """Whether a plan on disk is ``plan`` or a part of it: the same cells and images, or fewer of them."""
    if old["key"] == plan.key:
        return True
    new = plan_document(plan)
    return bool(
        old.get("device") == new["device"]
        and cell_keys(old).items() <= cell_keys(new).items()
        and old["images"].items() <= new["images"].items()
    )


def difference(old: Mapping[str, Any], plan: Plan) -> str:
    """In words, the first thing that keeps a plan on disk from being ``plan`` or a part of it."""
    new = plan_document(plan)
    old = {"trained_on": [], **old, "epsilons": epsilons_of(old)}
    names = ("track", "epsilons", "seed", "identity", "device", "precision", "protectors", "manipulators", "trained_on")
    for name in (*names, "protocol_hash"):
        there, here = old.get(name), new[name]
        more = isinstance(here, list) and isinstance(there, list) and bool(there) and set(there) <= set(here)
        if name not in old or there == here or more:
            continue
        said = [", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in (there, here)]
        hint = TOO if isinstance(here, list) else ""
        return f"{'epsilon' if name == 'epsilons' else name.replace('_', ' ')}: {said[0]} there, {said[1]} here{hint}"
    images = old.get("images", {})
    if not images.items() <= new["images"].items():
        return f"other images: {len(images)} there, {len(plan.images)} here"
    if any(severity not in new["severities"] for severity in old.get("severities", ())):
        return f"other perturbations or levels{TOO}"
    return "a method's code or weights have changed since"
