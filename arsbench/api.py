"""The Python interface: run a benchmark, or take its parts - faces, manipulators, protectors, perturbations, scores."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from arsbench import metrics, registry
from arsbench.contracts import ArsbenchError, Manipulator, Protector
from arsbench.controls import Verdict, verdict
from arsbench.datasets import faces_of
from arsbench.delivery import deliver
from arsbench.engines import local
from arsbench.evaluate import Bench, perturbed
from arsbench.faces import FaceSource, FolderFaces, open_folder
from arsbench.loading import choose_device, make_manipulator, make_perturbation, make_protector
from arsbench.metrics import Recogniser, Scorer
from arsbench.plan import (
    Image,
    Plan,
    check_epsilon,
    make_plan,
    manipulator_identity,
    protector_identity,
    treatments_of,
)
from arsbench.progress import Silent
from arsbench.protocol import TRACKS, check_track, groups, protocol
from arsbench.references import ReferenceCache, default_folder
from arsbench.registry import Method, Names
from arsbench.store import (
    Failure,
    MemoryStore,
    RunFolder,
    check_writable,
    failure_documents,
    without_failed,
)
from manipulators.face_networks import load_face_recogniser, recogniser_sha256

IMAGES = 100
WEIGHTS = ("own", "random")
PRECISIONS = ("float32", "bfloat16")
RUNS = Path("runs")
"""Runs without a folder of their own lie here, by content key."""

PACKAGES = ("arsbench", "torch", "torchvision", "kornia", "lpips", "piq", "numpy", "pandas", "pyarrow", "pillow")
"""Their versions stand in the manifest."""


@dataclass(frozen=True)
class Settings:
    """What the caller of a run may choose; see :func:`run`."""

    protector: Names = "ars"
    manipulator: Names = "all"
    perturbation: Names = "all"
    level: str | int | Sequence[int] = "all"
    images: int | None = IMAGES
    track: str = "open"
    epsilon: float = 0.3
    seed: int = 0
    device: str = "auto"
    out: str | Path | None = None
    faces: str | Path | None = None
    skip_bad: bool = False
    batch: int | None = None
    cache: bool = True
    identity: bool = False
    weights: str = "own"
    precision: str = "float32"


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        rows: of all cells that did not fail, one per image and cell, in canonical order.
        failures: cells that failed.
        void: manipulator -> reason, where the controls miss.
        folder: where it lies, or ``None``.
        reports: the files written from the rows.
        notes: what else happened: a part set aside, a cache that cannot be written.
    """

    rows: pd.DataFrame
    failures: list[Failure]
    void: dict[str, str]
    folder: Path | None = None
    reports: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """What the caller should be told: failures and void manipulators, each once."""
        void = [f"the run is void for manipulator '{name}': {reason}" for name, reason in self.void.items()]
        return list(dict.fromkeys(failure.sentence for failure in self.failures)) + void


class Interrupted(KeyboardInterrupt):
    """A run was interrupted; what it had computed lies in ``folder``."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.folder = folder


# --- a run ----------------------------------------------------------------------------------------------------------


def run(
    protector: Names = "ars",
    manipulator: Names = "all",
    perturbation: Names = "all",
    level: str | int | Sequence[int] = "all",
    images: int | None = IMAGES,
    track: str = "open",
    epsilon: float = 0.3,
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    *,
    faces: str | Path | None = None,
    skip_bad: bool = False,
    batch: int | None = None,
    cache: bool = True,
    identity: bool = False,
    weights: str = "own",
    precision: str = "float32",
    progress: bool = False,
) -> pd.DataFrame:
    """Runs protectors and the controls against manipulators under perturbations.

    Args:
        protector: a name, a comma list, ``all``, ``FILE.py:Class``, a class, or a sequence of these.
        manipulator: likewise.
        perturbation: likewise; also a named set such as ``paper-six``, or ``none`` for level 0 alone.
        level: ``all``, ``"0,3,5"``, ``"1-5"``, or numbers; level 0 is always evaluated.
        images: how many; of a folder at most so many. ``None``: 100 shipped faces, or all pictures of the folder.
        track: ``open`` or ``paper``.
        epsilon: L_inf budget in [-1, 1] units.
        seed: of the protectors' draws.
        device: ``auto``, ``cpu`` or ``cuda``.
        out: a folder, in which a run that was begun there goes on; ``None`` keeps nothing on disk.
        faces: a folder of pictures in place of the shipped faces.
        skip_bad: leave out pictures that cannot be read, instead of refusing the folder.
        batch: images at a time; the rows do not depend on it. ``None``: as many as fit, see
            :mod:`arsbench.engines.batch_size`.
        cache: read, and with ``out`` write, the references of earlier runs.
        identity: compute the identity columns, too, with a face recogniser; takes about twice as long.
        weights: ``own``, or ``random`` to measure the speed of the paper track's models without their checkpoints; rows
            say so, and no table takes them.
        precision: of the manipulators' passes: ``float32``, or ``bfloat16`` for speed on a GPU. What protectors compute
            stays in float32.
        progress: show a progress bar on stderr.

    Returns:
        One row per image and cell, the columns of :mod:`arsbench.rows`, by protector, manipulator, perturbation,
        level, image. Cells that failed are left out, with a warning; ``attrs`` has ``void`` and ``failures``.

    Raises:
        ArsbenchError: an unknown name, an unusable value, an output folder that cannot be written.
    """
    settings = Settings(
        protector,
        manipulator,
        perturbation,
        level,
        images,
        track,
        epsilon,
        seed,
        device,
        out,
        faces,
        skip_bad,
        batch,
        cache,
        identity,
        weights,
        precision,
    )
    outcome = execute(settings, make_progress(progress))
    for sentence in [*outcome.notes, *outcome.sentences]:
        warnings.warn(sentence, stacklevel=2)
    outcome.rows.attrs = {"void": outcome.void, "failures": [failure.sentence for failure in outcome.failures]}
    return outcome.rows


def make_progress(shown: bool) -> Silent:
    """A bar on stderr, or nothing."""
    if not shown:
        return Silent()
    from arsbench.progress import Shown

    return Shown()


def execute(settings: Settings, progress: Silent | None = None, keep: bool | None = None) -> Outcome:
    """A run with all that came of it.

    Args:
        settings: what to run.
        progress: what is shown meanwhile.
        keep: whether the run is stored, under ``runs/`` where no folder is given; by default where one is given.

    Raises:
        ArsbenchError: as :func:`run`.
        Interrupted: on Ctrl-C; what was computed is stored.
    """
    progress = progress or Silent()
    keep = settings.out is not None if keep is None else keep
    prepared = prepare(settings, check_folder=keep)
    cache = ReferenceCache(default_folder() if settings.cache else None, writable=keep)
    benches = {name: partial(prepared.bench, name, cache) for name in prepared.plan.manipulators}
    if not keep:
        memory = MemoryStore(prepared.plan)
        with progress:
            failures = local.run(prepared.plan, prepared.source, benches, memory, settings.batch, progress)
        return _outcome(prepared.plan, memory.rows(), failures)

    folder = Path(settings.out) if settings.out is not None else RUNS / prepared.plan.key
    with RunFolder(folder, prepared.plan, prepared.header()) as store:
        store.update(state="running", starts=[*store.manifest["starts"], _now()])
        try:
            with progress:
                failures = local.run(prepared.plan, prepared.source, benches, store, settings.batch, progress)
        except KeyboardInterrupt as error:
            store.update(state="interrupted")
            raise Interrupted(folder) from error
        finally:
            for note in [*store.notes, *cache.notes]:
                progress.note(note)
        cache.trim()
        outcome = _outcome(prepared.plan, store.rows(), failures)
        store.update(
            state="failed" if failures else "finished",
            ended=_now(),
            failures=failure_documents(failures),
            void={
                name: {"void": name in outcome.void, "reason": outcome.void.get(name, "")}
                for name in prepared.plan.manipulators
            },
        )
    notes = [*store.notes, *cache.notes]
    return Outcome(outcome.rows, failures, outcome.void, folder, _write_reports(folder, outcome), notes)


def _outcome(plan: Plan, rows: pd.DataFrame, failures: list[Failure]) -> Outcome:
    rows = without_failed(rows, failures)
    verdicts: dict[str, Verdict] = {name: verdict(rows, name) for name in plan.manipulators}
    return Outcome(rows, failures, {name: v.reason for name, v in verdicts.items() if v.void})


def _write_reports(folder: Path, outcome: Outcome) -> list[Path]:
    if outcome.rows.empty or (outcome.rows["weights"] == "random").any():
        return []
    from arsbench import reports

    # A failed protector's cells are left out whole, so what is left is as complete as it will be.
    return reports.write(folder, outcome.rows, partial=bool(outcome.failures), void=void_sentence(outcome.void))


def void_sentence(void: Mapping[str, str]) -> str | None:
    """Why a run is void, in one line, or ``None``."""
    return "; ".join(f"{name}: {reason}" for name, reason in void.items()) or None


# --- preparing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prepared:
    """A run whose every name, file and number has been found usable; nothing has been computed yet."""

    plan: Plan
    source: FaceSource
    device: torch.device
    manipulators: Mapping[str, Manipulator]
    protectors: Mapping[str, Mapping[str, Protector]]
    perturbations: Mapping[str, Method]
    origins: Mapping[str, Mapping[str, str]]

    def bench(self, name: str, cache: ReferenceCache) -> Bench:
        """The bench of one manipulator."""
        return Bench(
            plan=self.plan,
            manipulator_name=name,
            manipulator=self.manipulators[name],
            protectors={protector: by_model[name] for protector, by_model in self.protectors.items()},
            perturbations={key: make_perturbation(method) for key, method in self.perturbations.items()},
            scorer=Scorer(self.manipulators[name].device),
            cache=cache,
            recogniser=None if self.plan.identity is None else Recogniser(load_face_recogniser(self.device)),
        )

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
                "levels": sorted({treatment.level for treatment in self.plan.treatments}),
            },
            "faces": str(self.source.folder) if isinstance(self.source, FolderFaces) else None,
            "origins": {kind: dict(names) for kind, names in self.origins.items()},
            "versions": {"python": platform.python_version(), **{name: version_of(name) for name in PACKAGES}},
            "git_revision": git_revision(),
            "epsilon": self.plan.epsilon,
            "seeds": {"run": self.plan.seed},
            "device": {"type": self.device.type, "name": gpu or platform.processor() or platform.machine()},
            "precision": self.plan.precision,
            "weights_sha256": self._weights(),
            "void": {},
            "ended": None,
        }

    def _weights(self) -> dict[str, str]:
        found: dict[str, str | None] = {
            f"manipulator {name}": model.weights_sha256 for name, model in self.manipulators.items()
        }
        for protector, by_model in self.protectors.items():
            for name, made in by_model.items():
                found[f"protector {protector} against {name}"] = getattr(made, "weights_sha256", None)
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
    check_epsilon(settings.epsilon)
    _check_number("seed", settings.seed, -(2**63))
    if settings.batch is not None:
        _check_number("batch", settings.batch, 1)
    if settings.images is not None:
        _check_number("images", settings.images, 1)
    if settings.weights not in WEIGHTS:
        raise registry.unknown("weights", str(settings.weights), WEIGHTS)
    if settings.precision not in PRECISIONS:
        raise registry.unknown("precision", str(settings.precision), PRECISIONS)
    device = choose_device(settings.device)
    definitions = protocol(settings.track)
    treatments = treatments_of(
        perturbations := _perturbations(settings), registry.parse_levels(settings.level), settings.track
    )
    protectors = registry.resolve(
        "protector", [*_as_list(settings.protector), *definitions.controls], groups("protector")
    )
    manipulators = registry.resolve("manipulator", settings.manipulator, groups("manipulator"))
    if check_folder:
        _check_place(settings.out)
    source = _faces(settings)
    random = settings.weights == "random"
    models = {
        method.name: make_manipulator(method, settings.track, device, random_weights=random) for method in manipulators
    }
    against = {
        method.name: {
            name: make_protector(method, model, settings.epsilon, settings.seed) for name, model in models.items()
        }
        for method in protectors
    }
    plan = make_plan(
        definitions.hash,
        settings.track,
        settings.epsilon,
        settings.seed,
        device.type,
        {m.name: {name: protector_identity(m, made) for name, made in against[m.name].items()} for m in protectors},
        {m.name: manipulator_identity(m, models[m.name]) for m in manipulators},
        treatments,
        [Image(key, source.digest(index)) for index, key in enumerate(source.keys)],
        recogniser_sha256() if settings.identity else None,
        settings.precision,
    )
    origins = {
        f"{kind}s": {method.name: method.origin for method in methods}
        for kind, methods in (("protector", protectors), ("manipulator", manipulators), ("perturbation", perturbations))
    }
    return Prepared(plan, source, device, models, against, {m.name: m for m in perturbations}, origins)


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
    return open_folder(settings.faces, TRACKS[settings.track], settings.skip_bad, settings.images)


def _check_number(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        wanted = f"a whole number of at least {least}" if least >= 0 else "a whole number"
        raise ArsbenchError(f"{name} is {value!r}; give {wanted}")


def _check_place(out: str | Path | None) -> None:
    """The folder is tried before anything is loaded; without one, whether it could be made."""
    if out is not None:
        check_writable(Path(out))
        return
    place = RUNS if RUNS.exists() else RUNS.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ArsbenchError(f"the output folder {RUNS.resolve()} cannot be written; give another --out")


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def version_of(package: str) -> str | None:
    """The installed version, or ``None``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_revision() -> str | None:
    """The revision of the checkout that arsbench runs from, ``+`` appended where files differ; ``None`` elsewhere."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        ask = partial(subprocess.run, cwd=root, capture_output=True, text=True, timeout=10, check=True)
        revision = ask(["git", "rev-parse", "HEAD"]).stdout.strip()
        return revision + ("+" if ask(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


# --- the parts ------------------------------------------------------------------------------------------------------


def load_faces(track: str = "open", split: str = "test", n: int = 100) -> tuple[Tensor, list[str]]:
    """The first ``n`` faces of a split.

    Args:
        track: ``open``, or ``paper`` where the user's faces were added.
        split: ``train``, ``val`` or ``test``.
        n: how many.

    Returns:
        Delivered faces ``[n, 3, H, W]``, float32 in [-1, 1], and their keys.

    Raises:
        ArsbenchError: no such track or split, or not so many faces.
    """
    check_track(track)
    _check_number("n", n, 1)
    source = faces_of(track, split, n)
    return source.batch(range(n)), source.keys


def load_manipulator(
    name: str | type[Manipulator], track: str = "open", device: str | torch.device = "cpu", condition: Any = None
) -> Manipulator:
    """A manipulator G; ``.manipulate(x, keys)`` gives its raw output, differentiable in x.

    Args:
        name: a registered name, ``FILE.py:Class`` or a class.
        track: ``open`` or ``paper``.
        device: ``auto``, ``cpu`` or ``cuda``.
        condition: for ``psp-mix`` a face ``[1, 3, H, W]``, ``"random"`` or a z ``[1, 512]``; by default every image's
            key chooses one of the shipped condition faces.

    Raises:
        ArsbenchError: unknown name, track, device or condition; damaged weights.
    """
    check_track(track)
    return make_manipulator(registry.find("manipulator", name), track, choose_device(device), condition)


def load_protector(
    name: str | type[Protector],
    manipulator: str | Manipulator | type[Manipulator],
    epsilon: float = 0.3,
    seed: int = 0,
    track: str = "open",
    device: str | torch.device = "cpu",
) -> Protector:
    """A protector P against a manipulator; ``.protect(x, keys)`` gives x_p.

    Args:
        name: a registered name, ``FILE.py:Class`` or a class.
        manipulator: an object, or a name to load.
        epsilon: L_inf budget in [-1, 1] units.
        seed: of the protector's draws.
        track: of the manipulator, where it is loaded by name.
        device: of the manipulator, where it is loaded by name.

    Raises:
        ArsbenchError: unknown names, no weights for that manipulator, an epsilon that is not in (0, 2].
    """
    check_epsilon(epsilon)
    _check_number("seed", seed, -(2**63))
    method = registry.find("protector", name)
    if not isinstance(manipulator, Manipulator):
        manipulator = load_manipulator(manipulator, track, device)
    return make_protector(method, manipulator, epsilon, seed)


def perturb(x: Tensor, name: str, level: int, keys: Sequence[str], track: str = "open") -> Tensor:
    """deliver(p_l(deliver(x))): what a platform makes of pictures, as 8 bit.

    Args:
        x: ``[B, 3, H, W]`` in [-1, 1].
        name: a registered perturbation, ``FILE.py:Class``, or ``none``.
        level: 0 (delivery alone) to 5.
        keys: the B images' keys, from which all draws come.
        track: whose levels.

    Returns:
        Delivered pictures ``[B, 3, H, W]``, float32.

    Raises:
        ArsbenchError: an unknown name, level or track, or pictures and keys that do not fit.
    """
    check_track(track)
    _check_pictures("x", x)
    if isinstance(keys, str) or len(keys) != len(x) or not all(isinstance(key, str) for key in keys):
        raise ArsbenchError(f"keys must be a list of {len(x)} strings, one for each picture")
    if not isinstance(level, int) or level not in registry.LEVELS:
        raise ArsbenchError(f"level is {level!r}; give a level from 0 to {registry.LEVELS[-1]}")
    method = None if name == "none" else registry.find("perturbation", name)
    if method is None and level > 0:
        raise ArsbenchError("perturbation 'none' has level 0 alone")
    x = deliver(x.float())
    if method is None or level == 0:
        return x
    return perturbed(make_perturbation(method), method.cls.track_levels(track)[level - 1], x, keys)


def score(
    y: Tensor,
    y_p: Tensor,
    x: Tensor | None = None,
    x_p: Tensor | None = None,
    y_clean: Tensor | None = None,
    px: Tensor | None = None,
    px_p: Tensor | None = None,
) -> dict[str, Tensor]:
    """Every metric of the protocol whose inputs are given; see :func:`arsbench.metrics.score`.

    Raises:
        ArsbenchError: something is no picture ``[B, 3, H, W]``, or shapes differ, or values are not finite.
    """
    given = {"y": y, "y_p": y_p, "x": x, "x_p": x_p, "y_clean": y_clean, "px": px, "px_p": px_p}
    for name, value in given.items():
        if value is not None or name in ("y", "y_p"):
            _check_pictures(name, value)
    return metrics.score(y, y_p, x, x_p, y_clean, px, px_p)


def _check_pictures(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise ArsbenchError(f"{name} is {type(value).__name__}; give a float tensor [B, 3, H, W] in [-1, 1]")
    if value.ndim != 4 or value.shape[1] != 3 or 0 in value.shape or not value.is_floating_point():
        said = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        raise ArsbenchError(f"{name} is {said}; give a float tensor [B, 3, H, W] in [-1, 1]")
    if not bool(torch.isfinite(value).all()):
        raise ArsbenchError(f"{name} holds NaN or infinite values; give pictures in [-1, 1]")
