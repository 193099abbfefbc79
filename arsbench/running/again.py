"""The settings of a run, read back from its manifest, so that it can be run again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arsbench import registry
from arsbench.contracts import ArsbenchError
from arsbench.running.manifest import MANIFEST, cell_keys, epsilons_of, read_manifest
from arsbench.running.settings import Settings
from arsbench.scoring.controls import CONTROLS


def run_of(path: str | Path) -> Path:
    """The folder of a run that is named by itself or by its manifest."""
    path = Path(path)
    return path.parent if path.name == MANIFEST else path


def settings_like(path: str | Path) -> Settings:
    """The settings that a run was made with.

    Args:
        path: the run's manifest, or its folder.

    Raises:
        ArsbenchError: not a manifest, or of a run with a method that was given as a class, in Python.
    """
    run = run_of(path)
    manifest = read_manifest(run)
    plan = manifest["plan"]

    def found(kind: str, names: list[str]) -> tuple[str, ...]:
        origins = manifest.get("origins", {}).get(f"{kind}s", {})
        if missing := [name for name in names if name not in origins]:
            raise ArsbenchError(f"the manifest of {run} does not say where {kind} '{missing[0]}' is from")
        return tuple(registry.found_again(kind, name, origins[name]) for name in names)

    named = [name for name in plan["protectors"] if name not in CONTROLS]
    perturbations = list(dict.fromkeys(name for name, level, _ in plan["severities"] if level))
    trained_on = found("manipulator", plan.get("trained_on", []))
    return Settings(
        protector=found("protector", named) if named else "none",
        manipulator=found("manipulator", plan["manipulators"]),
        perturbation=found("perturbation", perturbations) if perturbations else "none",
        level=tuple(sorted({level for _, level, _ in plan["severities"]})),
        images=len(plan["images"]),
        track=plan["track"],
        epsilon=tuple(epsilons_of(plan)),
        seed=plan["seed"],
        device="cpu" if plan["device"] == "cpu" else "auto",
        faces=manifest.get("faces"),
        skip_bad=manifest.get("faces") is not None,  # what could not be read was left out of the run, too
        identity=plan.get("identity") is not None,
        weights="random" if manifest.get("weights") == "random" else "own",
        precision=manifest.get("precision", "float32"),
        trained_on=trained_on or None,
    )


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """In words, how many of the cells that two manifests share are made in another way now; ``None`` where none is."""
    before, after = cell_keys(old["plan"]), cell_keys(new["plan"])
    common = before.keys() & after.keys()
    other = sum(before[label] != after[label] for label in common)
    if not other:
        return None
    return f"code, weights or settings have changed since: {other} of {len(common)} cells are made in another way now"
