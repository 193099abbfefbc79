"""Trains a method: builds its job from what ships with arsbench, and shows how far it is."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arsbench import registry
from arsbench.allocator import keep_freed_memory
from arsbench.contracts import ArsbenchError, Manipulator
from arsbench.draws import generator
from arsbench.faces import shipped
from arsbench.faces.sources import FaceSource
from arsbench.faces.tracks import faces_of
from arsbench.protocol import check_track
from arsbench.running.checks import check_epsilon
from arsbench.running.loading import choose_device, make_manipulator
from arsbench.running.progress import NoProgress
from arsbench.running.provenance import git_revision
from arsbench.scoring.lpips import load_lpips
from arsbench.scoring.metrics import all_metrics
from arsbench.training.job import TrainingJob
from arsbench.training.protections import Protections

VALIDATION_FIRST = len(shipped.CONDITION_SEEDS)
VALIDATION_FACES = 128
"""Validation faces after those that conditions are chosen from."""


def train(
    name: str,
    manipulator: str,
    track: str,
    steps: int,
    batch: int,
    out: Path,
    device: str = "auto",
    seed: int = 0,
    epsilon: float = 0.3,
    start: Path | None = None,
    accumulate: int = 1,
    checkpointing: bool = False,
    progress: NoProgress | None = None,
) -> Path:
    """Trains a protector against a manipulator, or a manipulator by itself; started again, it goes on.

    Args:
        name: a registered name, ``FILE.py:Class``, or the family of a manipulator (``psp``).
        manipulator: that a protector is trained against.
        track: whose faces.
        steps: optimiser steps in all.
        batch: faces per step.
        out: folder for checkpoints, log and result.
        device: ``auto``, ``cpu`` or ``cuda``.
        seed: of the initial weights and the draws.
        epsilon: L_inf budget of a protector.
        start: finished weights (``.safetensors``) to start from.
        accumulate: parts that a protector's batch is worked through in, for memory.
        checkpointing: of the manipulator's activations, for memory; a protector's step takes a third longer.
        progress: what is shown meanwhile.

    Returns:
        What the method's ``train`` says it wrote.

    Raises:
        ArsbenchError: an unknown name, a method that has nothing to train, or a number that cannot be used.
    """
    progress = progress or NoProgress()
    keep_freed_memory()
    check_track(track)
    check_epsilon(epsilon)
    kind, _, function = trainable(name)
    if kind != "protector" and track != "open":
        raise ArsbenchError(f"{kind} '{name}' is trained on track 'open' alone")
    place = choose_device(device)
    model = make_manipulator(registry.find("manipulator", manipulator), track, place) if kind == "protector" else None
    protections = Protections(track, place, epsilon)
    validation = faces_of(track, "val", VALIDATION_FIRST + VALIDATION_FACES)

    shown: list[int] = []

    def report(step: int, reached: dict[str, float]) -> None:
        if not shown:  # where a resumed training goes on is known from its first step on
            shown.append(step - 1)
            progress.start(steps, step - 1, unit="steps")
        progress.advance(step - shown[0], "  ".join(f"{key} {value:.4g}" for key, value in reached.items()))
        shown[0] = step

    job = TrainingJob(
        faces=shipped.training_faces if track == "open" else repeated(faces_of(track, "train")),
        latents=shipped.training_latents,
        collage=shipped.collage,
        validation=(
            validation.batch(range(VALIDATION_FIRST, len(validation))),
            validation.keys[VALIDATION_FIRST:],
        ),
        perceptual=load_lpips(place),
        metrics={metric.name: metric for metric in all_metrics(place)},
        folder=out,
        steps=steps,
        batch=batch,
        device=place,
        seed=seed,
        report=report,
        epsilon=epsilon,
        start=None if start is None else (start.parent, start.stem),
        accumulate=accumulate,
        checkpointing=checkpointing,
        revision=git_revision(),
        protect=protections,
        protections=len(protections),
    )
    with progress:
        return function(job, model)


def repeated(source: FaceSource) -> Callable[[int, int], tuple[Tensor, list[str]]]:
    """(first, count) -> faces of ``source`` and their keys, over and over, each time in another order."""

    def faces_from(first: int, count: int) -> tuple[Tensor, list[str]]:
        orders: dict[int, list[int]] = {}
        indices = []
        for i in range(first, first + count):
            turn = i // len(source)
            if turn not in orders:
                draws = generator(f"turn {turn}", "training faces")
                orders[turn] = torch.randperm(len(source), generator=draws).tolist()
            indices.append(orders[turn][i % len(source)])
        return source.batch(indices), [source.keys[i] for i in indices]

    return faces_from


Train = Callable[[TrainingJob, Manipulator | None], Path]
"""Trains a method; a protector against the manipulator."""


def trainer_of(kind: str, cls: Any) -> Train | None:
    """What trains a class: the function that its ``training`` names, or its own ``train``; ``None`` without either.

    The function of a protector takes the class, the job and the manipulator, that of another method the job alone.
    """
    named: str | None = getattr(cls, "training", None)
    if named is None:
        own = getattr(cls, "train", None)
    else:
        module, _, name = named.partition(":")
        own = getattr(importlib.import_module(module), name)
        own = functools.partial(own, cls) if kind == "protector" else own
    return own if kind == "protector" or own is None else lambda job, _: own(job)


def trainable(name: str) -> tuple[str, Any, Train]:
    """The kind and class of a method that can be trained, and the function that does it.

    Raises:
        ArsbenchError: there is none of that name, or it has nothing to train.
    """
    is_file = name.rpartition(":")[0].endswith(".py")
    protectors, manipulators = registry.names("protector"), registry.names("manipulator")
    families = {known.split("-")[0]: known for known in manipulators}
    if is_file or name in protectors:
        kind, method = "protector", registry.find("protector", name)
    elif name in registry.names("perturbation"):
        kind, method = "perturbation", registry.find("perturbation", name)
    elif name in manipulators or name in families:
        kind, method = "manipulator", registry.find("manipulator", families.get(name, name))
    else:
        known = [*protectors, *families]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
        raise ArsbenchError(f"there is no method '{name}' to train; did you mean {' or '.join(near)}?")
    function = trainer_of(kind, method.cls)
    if function is None:
        raise ArsbenchError(f"{kind} '{method.name}' has nothing to train")
    return kind, method.cls, function
