"""What the harness hands to a method that trains: where faces come from, where results go."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arsbench.contracts import Metric


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
        revision: of the code, for the card; ``None`` where it is not known.
        protect: (x, keys, number) -> x_p, delivered: by a protector that ships, another for each number.
        protections: after so many numbers they come again.
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
    revision: str | None = None
    protect: Callable[[Tensor, Sequence[str], int], Tensor] = lambda x, keys, number: x
    protections: int = 1

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
