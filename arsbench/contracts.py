"""The small interfaces every method implements, and the conventions they share.

Image conventions: float32 tensors ``[B, 3, H, W]``, RGB, values in [-1, 1]. A *key* is the string that names an image;
it is only ever hashed. Everything random about an image is drawn from its key, so that a number never depends on batch
size, order, workers or resuming.

Protectors, perturbations and manipulators import this module and nothing else of the harness.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

PROTOCOL_NAME = "arsbench-1"
"""Enters every random draw: a new protocol version draws anew."""
CPU = torch.device("cpu")


class ArsbenchError(Exception):
    """What is wrong with an input, in one sentence: what, where, what to do. The command line exits with 2."""


def cache_home() -> Path:
    """``$XDG_CACHE_HOME/arsbench``; under ``~/.cache`` where that variable is not set."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "arsbench"


# --- draws ----------------------------------------------------------------------------------------------------------


def draw(key: str, purpose: str, seed: int = 0) -> int:
    """A 63-bit number that depends on the protocol, the image's key, what it is for and the seed alone."""
    text = "\0".join((PROTOCOL_NAME, purpose, str(seed), key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(key: str, purpose: str, seed: int = 0) -> torch.Generator:
    """A CPU generator seeded by :func:`draw`."""
    return torch.Generator().manual_seed(draw(key, purpose, seed))


def uniform(keys: Sequence[str], shape: Sequence[int], purpose: str, seed: int = 0) -> Tensor:
    """Independent uniform [0, 1) numbers ``[B, *shape]``, one draw per key."""
    return torch.stack([torch.rand(*shape, generator=generator(key, purpose, seed)) for key in keys])


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Code that draws from the global generator draws by ``seed`` in here, and the generator is put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


# --- the four interfaces --------------------------------------------------------------------------------------------


class Manipulator(ABC):
    """A face manipulation model G. Its output is raw: differentiable, unclamped, of the size it was given.

    Subclasses set ``name`` and ``track`` and write :meth:`manipulate`. One that takes a condition c per image also
    overrides :meth:`conditions`.

    Args:
        device: where the model computes.
        condition: the condition for every image; ``None`` lets the key of each image choose one from the fixed list.
        condition_faces: the shipped validation faces ``[16, 3, H, W]`` that a condition is chosen from.
        condition_keys: their keys.
    """

    name: ClassVar[str]
    track: ClassVar[str] = "open"
    weights_files: ClassVar[tuple[Path, ...]] = ()
    """The weights files it loads, each with its card beside it; for ``arsbench list``."""
    checkpoints: ClassVar[tuple[str, ...]] = ()
    """The checkpoints of the user's that it needs, by the names ``arsbench checkpoints list`` gives them."""
    random_weights: bool = False
    """True where the model runs at its full size with random weights, to measure speed; its numbers mean nothing."""
    weights_sha256: str | None = None
    """Hash of the weights in use, for the cache of references and the manifest; ``None`` where there are none."""
    thread_safe: ClassVar[bool] = False
    """True promises that several threads may call ``manipulate`` at once: no call changes what another one sees. A
    subclass makes the promise anew."""

    def __init__(
        self,
        device: str | torch.device = "cpu",
        condition: Any = None,
        condition_faces: Tensor | None = None,
        condition_keys: Sequence[str] = (),
    ) -> None:
        self.device = torch.device(device)
        self.condition = condition
        self.condition_faces = condition_faces
        self.condition_keys = list(condition_keys)

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
    """One batch of a cell, as a metric sees it; every tensor ``[B, 3, H, W]``, clamped to [-1, 1].

    Attributes:
        y: the reference G(p(x)).
        y_p: the protected output G(p(x_p)).
        x: the source face.
        x_p: the protected face, delivered.
        y_clean: G(x), without perturbation.
        px: p(x), delivered.
        px_p: p(x_p), delivered.
    """

    y: Tensor
    y_p: Tensor
    x: Tensor | None = None
    x_p: Tensor | None = None
    y_clean: Tensor | None = None
    px: Tensor | None = None
    px_p: Tensor | None = None


class Metric(ABC):
    """One number per image."""

    name: ClassVar[str]

    @abstractmethod
    def measure(self, pair: Pair) -> Tensor | None:
        """``[B]`` float values, or ``None`` when an input that the metric needs is missing."""


# --- shipped weights ------------------------------------------------------------------------------------------------


def load_weights(folder: Path, stem: str) -> tuple[dict[str, Tensor], str]:
    """Reads ``stem.safetensors`` (fp16) as float32, after checking it against the SHA-256 on its card ``stem.json``.

    Returns:
        The tensors by name, and the file's SHA-256.

    Raises:
        ArsbenchError: a file is missing or does not match its card.
    """
    path, card_path = folder / f"{stem}.safetensors", folder / f"{stem}.json"
    for needed in (path, card_path):
        if not needed.is_file():
            raise ArsbenchError(f"the weights file {needed} is missing; install arsbench again")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        expected = json.loads(card_path.read_text())["sha256"]
        if digest != expected:
            raise ArsbenchError(
                f"the weights file {path} is damaged: its SHA-256 differs from its card; install arsbench again"
            )
        tensors = load_file(path)
    except (SafetensorError, json.JSONDecodeError, KeyError) as error:
        raise ArsbenchError(f"the weights file {path} or its card cannot be read; install arsbench again") from error
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}, digest


def combined_sha256(*digests: str) -> str:
    """One hash for a model that is made of several files."""
    return hashlib.sha256("\0".join(digests).encode()).hexdigest()


def save_weights(folder: Path, stem: str, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> Path:
    """Writes ``stem.safetensors`` in fp16 and its card ``stem.json`` with the file's SHA-256; returns the former.

    Args:
        folder: made if missing.
        stem: of both file names.
        tensors: by name.
        card: what the weights are: data, recipe, command, what they reached, licence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.safetensors"
    save_file({k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / f"{stem}.json").write_text(json.dumps({**card, "sha256": digest}, indent=2) + "\n")
    return path


def update_average(average: torch.nn.Module, now: torch.nn.Module, step: int, decay: float) -> None:
    """Moves the running average of a network's weights towards ``now``, in place; faster in the first steps."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), now.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


# --- training -------------------------------------------------------------------------------------------------------


@dataclass
class TrainingJob:
    """What the harness hands to a method that trains: where faces come from, where results go.

    Attributes:
        faces: (first, count) -> (faces ``[count, 3, H, W]``, keys), the training faces ``first`` onwards.
        latents: (first, count) -> the generator's z of those faces ``[count, 100]``.
        collage: (z of the outer face, z of the inner one, ``[B, 100]`` each) -> raw faces, differentiable.
        validation: a fixed batch of validation faces and their keys.
        perceptual: LPIPS as a differentiable module, (a, b) in [-1, 1] -> ``[B, 1, 1, 1]``.
        metrics: the protocol's metrics by name; mse, amplification and unrecovered are differentiable.
        folder: checkpoints and the log go here; a job started again in it resumes.
        steps: optimiser steps in all.
        batch: faces per step.
        device: where to train.
        seed: of the initial weights and the draws.
        report: called after each step with its number and what was reached.
        epsilon: the L_inf budget, for protectors.
        start: a finished weights folder and stem to start from, or ``None``.
        accumulate: parts that a protector's batch is worked through in, for memory; their gradients are added up.
        checkpointing: compute what lies inside the manipulator's blocks again on the way back instead of keeping it.
    """

    faces: Callable[[int, int], tuple[Tensor, list[str]]]
    latents: Callable[[int, int], Tensor]
    collage: Callable[[Tensor, Tensor], Tensor]
    validation: tuple[Tensor, list[str]]
    perceptual: torch.nn.Module
    metrics: Mapping[str, Metric]
    folder: Path
    steps: int
    batch: int = 32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0
    report: Callable[[int, dict[str, float]], None] = lambda step, reached: None
    epsilon: float = 0.3
    start: tuple[Path, str] | None = None
    accumulate: int = 1
    checkpointing: bool = False

    def autocast(self) -> torch.autocast:
        """Where forward passes run: in bfloat16, or in float32 on a CPU without AVX-512.

        With AVX2 bfloat16 is emulated, and a step of training takes 8 times as long in it.
        """
        fast = self.device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        return torch.autocast(self.device.type, torch.bfloat16, enabled=fast)

    def resume(self) -> dict[str, Any] | None:
        """What :meth:`keep` kept last in this folder, or ``None``."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return None
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        return state

    def keep(self, state: Mapping[str, Any], step: int, reached: Mapping[str, float]) -> None:
        """Keeps ``state``, tensors and plain values, as the checkpoint after ``step``, and adds a line to the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "checkpoint.tmp"
        torch.save({**state, "step": step}, path)
        path.replace(path.with_suffix(".pt"))
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        line = {"step": step, "time": now, **{name: round(value, 4) for name, value in reached.items()}}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def started_from(self) -> dict[str, Any]:
        """For the card of what is trained: the card of the weights that it started from; empty without ``start``."""
        if self.start is None:
            return {}
        folder, stem = self.start
        return {"started_from": json.loads((folder / f"{stem}.json").read_text())}
