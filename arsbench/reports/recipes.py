"""What the pictures of a run are made from, read from its manifest: methods, faces and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arsbench import registry
from arsbench.contracts import ArsbenchError
from arsbench.labels import Label
from arsbench.running.manifest import cell_keys, epsilons_of, failures_of, read_manifest
from arsbench.running.settings import DEFAULTS, Settings
from arsbench.scoring.controls import CONTROLS


@dataclass(frozen=True)
class Recipe:
    """What the pictures of one manipulator are made from.

    Attributes:
        manipulator: its name.
        protectors: their names, without the controls.
        settings: find the run's methods and faces again.
        images: key -> digest of the faces that all runs have, in order.
        cells: the label of each cell -> its content key.
        runs: the runs' folders, for messages.
        void: whether a run is void for the manipulator.
    """

    manipulator: str
    protectors: Sequence[str]
    settings: Settings
    images: Mapping[str, str]
    cells: Mapping[Label, str]
    runs: str
    void: bool


def read_recipes(
    runs: Sequence[Path], protectors: Sequence[str], manipulators: Sequence[str], epsilon: float | None = None
) -> list[Recipe]:
    """One recipe for each manipulator of the runs; empty choices take all.

    Of runs with several budgets, those of ``epsilon`` are shown, or of the default budget, or of the largest.

    Raises:
        ArsbenchError: runs that do not fit together, a name that no run has, or nothing that did not fail.
    """
    manifests = {Path(run): read_manifest(run) for run in runs}
    plans = [manifest["plan"] for manifest in manifests.values()]
    for name, said in (("protocol_hash", "protocols"), ("track", "tracks"), ("seed", "seeds")):
        if len({plan[name] for plan in plans}) > 1:
            raise ArsbenchError(f"these runs have different {said}; a figure of faces shows one, so give it one run")
    budget = _budget(plans, epsilon)
    entries = _together(plans, "protectors")
    models = _together(plans, "manipulators")
    for kind, chosen, there in (
        ("protector", protectors, [name for name in entries if name not in CONTROLS]),
        ("manipulator", manipulators, models),
    ):
        for name in chosen:
            if name not in there:
                raise registry.unknown(f"{kind} of {_listed(manifests)}", name, there)
    recipes = []
    for model in models:
        having = {run: manifest for run, manifest in manifests.items() if _has(manifest, model)}
        recipe = _recipe(model, having, protectors, budget) if having and model in (manipulators or models) else None
        if recipe is not None:
            recipes.append(recipe)
    if not recipes:
        raise ArsbenchError(f"{_listed(manifests)} has nothing to show: no protector but the controls, or all failed")
    return recipes


def _budget(plans: Sequence[Mapping[str, Any]], wanted: float | None) -> float:
    """The one budget that the pictures show."""
    common = set.intersection(*(set(epsilons_of(plan)) for plan in plans))
    if not common:
        raise ArsbenchError("these runs have different budgets; a figure of faces shows one, so give it one run")
    if wanted is None:
        return DEFAULTS.epsilon if DEFAULTS.epsilon in common else max(common)
    if wanted not in common:
        listed = ", ".join(f"{epsilon:g}" for epsilon in sorted(common))
        raise ArsbenchError(f"epsilon {wanted:g} was not run; there are: {listed}")
    return wanted


def _has(manifest: Mapping[str, Any], model: str) -> bool:
    """Whether something was protected against the manipulator itself, not only against another one."""
    return any(label[1] == model and not label[5] and label[0] not in CONTROLS for label in cell_keys(manifest["plan"]))


def _recipe(
    model: str, manifests: Mapping[Path, dict[str, Any]], protectors: Sequence[str], epsilon: float
) -> Recipe | None:
    """The recipe for one manipulator of the runs that have it; ``None`` where every protector failed."""
    first = next(iter(manifests.values()))
    specs: dict[str, str] = {}
    for run, manifest in manifests.items():
        for name in manifest["plan"]["protectors"]:
            wanted = name not in CONTROLS and name in (protectors or [name])
            if wanted and name not in specs and not _failed(manifest, model, name, epsilon):
                specs[name] = _spec(run, manifest, "protector", name)
    if not specs:
        return None
    run, plan = next(iter(manifests)), first["plan"]
    perturbations, level = _strongest(manifests, model)
    settings = Settings(
        protector=tuple(specs.values()),
        manipulator=(_spec(run, first, "manipulator", model),),
        perturbation=tuple(_spec(run, first, "perturbation", name) for name in perturbations),
        level=level,
        track=plan["track"],
        epsilon=epsilon,
        seed=plan["seed"],
        device="cpu" if plan["device"] == "cpu" else "auto",
        faces=first.get("faces"),
        skip_bad=True,  # what could not be read was left out of the run, too
    )
    cells: dict[Label, str] = {}
    for manifest in reversed(list(manifests.values())):
        cells |= cell_keys(manifest["plan"])
    void = any(manifest.get("void", {}).get(model, {}).get("void", False) for manifest in manifests.values())
    return Recipe(model, list(specs), settings, _common_faces(manifests), cells, _listed(manifests), void)


def _failed(manifest: Mapping[str, Any], model: str, protector: str, epsilon: float) -> bool:
    """Whether every cell of the protector against the manipulator did."""
    failures = failures_of(manifest)
    labels = [(protector, model, name, level, epsilon, "") for name, level, _ in manifest["plan"]["severities"]]
    return all(any(failure.covers(label) for failure in failures) for label in labels)


def _strongest(manifests: Mapping[Path, dict[str, Any]], model: str) -> tuple[list[str], int]:
    """The perturbations at the highest level that all runs have, less those that failed; and that level."""
    tables = [{tuple(entry[:2]) for entry in manifest["plan"]["severities"]} for manifest in manifests.values()]
    first = next(iter(manifests.values()))
    common = [
        (name, level) for name, level, _ in first["plan"]["severities"] if all((name, level) in t for t in tables)
    ]
    level = max((level for _, level in common), default=0)
    failures = [failure for manifest in manifests.values() for failure in failures_of(manifest)]
    broken = {f.perturbation for f in failures if f.manipulator in (None, model) and f.level in (None, level)}
    return [name for name, its in common if its == level and level > 0 and name not in broken], level


def _spec(run: Path, manifest: Mapping[str, Any], kind: str, name: str) -> str:
    try:
        return registry.found_again(kind, name, manifest["origins"][f"{kind}s"][name])
    except KeyError as error:
        raise ArsbenchError(f"the manifest of {run} does not say where {kind} '{name}' is from") from error


def _common_faces(manifests: Mapping[Path, dict[str, Any]]) -> dict[str, str]:
    """Key -> digest of the faces that all runs begin with.

    Raises:
        ArsbenchError: there are none.
    """
    lists = [list(manifest["plan"]["images"].items()) for manifest in manifests.values()]
    common: dict[str, str] = {}
    for entries in zip(*lists, strict=False):
        if len(set(entries)) > 1:
            break
        common.update(entries[:1])
    if not common:
        raise ArsbenchError(f"{_listed(manifests)} have no faces in common; give runs of the same faces")
    return common


def _together(plans: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    return list(dict.fromkeys(entry for plan in plans for entry in plan[name]))


def names_in(given: str | None) -> list[str]:
    """The names in a comma list; none in ``None``."""
    return [part.strip() for part in (given or "").split(",") if part.strip()]


def _listed(runs: Mapping[Path, object]) -> str:
    return ", ".join(map(str, runs))
