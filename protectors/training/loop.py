"""Trains a learned protector against one manipulator.

An objective takes one optimiser step per batch; :func:`train` does what all share: checkpoints, the averaged weights
that are shipped, validation, the log and the curve.
"""

from __future__ import annotations

import copy
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from arsbench.contracts import Manipulator, Pair
from arsbench.draws import draw, generator, seeded
from arsbench.protectors.checkpointing import checkpoint_blocks
from arsbench.protectors.learned import LearnedProtector
from arsbench.protectors.training.curve import Curve
from arsbench.protectors.training.validation import Validation
from arsbench.training.average import update_average
from arsbench.training.job import TrainingJob
from arsbench.weights import load_weights, save_weights

CHECKPOINT_EVERY = 50
VALIDATE_EVERY = 200
AVERAGE_DECAY = 0.995
CLAMPED_SLOPE = 0.05
PAPER_EPSILON = 0.1
"""The budget that published weights of the noise's mse are meant for."""

Measure = Callable[[nn.Module], list[dict[str, Any]]]
"""What a network reaches on the validation faces: :meth:`Validation.measure`."""


@dataclass(frozen=True)
class Part:
    """Some of the faces of a batch: their number, their mean loss, and what it reached."""

    faces: int
    loss: Tensor
    reached: dict[str, float] = field(default_factory=dict)


class Objective(ABC):
    """One way to train a network (x, epsilon) -> noises against a manipulator."""

    name: ClassVar[str]
    learning_rate: ClassVar[float]

    def __init__(self, manipulator: Manipulator, job: TrainingJob) -> None:
        self.manipulator, self.job = manipulator, job
        if job.checkpointing:
            checkpoint_blocks(manipulator)

    def step(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, keys: list[str], at: int
    ) -> dict[str, float]:
        """One update from the batch ``x`` [B, 3, H, W], a part at a time; returns what was reached, for the log."""
        size = math.ceil(len(x) / self.job.accumulate)
        parts: list[Part] = []
        optimizer.zero_grad(set_to_none=True)
        for number, first in enumerate(range(0, len(x), size)):
            faces, names = x[first : first + size], keys[first : first + size]
            draws = generator(f"step {at}" + (f" part {number}" if number else ""), self.name, self.job.seed)
            part = self.part(network, faces, names, at, draws)
            (part.loss * (len(faces) / len(x))).backward()  # type: ignore[no-untyped-call]
            parts.append(part)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        self.follow(at)
        return _means(parts)

    @abstractmethod
    def part(self, network: nn.Module, x: Tensor, keys: list[str], at: int, draws: torch.Generator) -> Part:
        """The mean loss of some faces of step ``at``, not yet differentiated."""

    def follow(self, at: int) -> None:  # noqa: B027 - most objectives train one network alone
        """What else is updated after the network."""

    def finish(self, network: nn.Module, measure: Measure) -> str:
        """Changes the averaged network once the steps are done; says how, or nothing where it leaves it as it is."""
        return ""

    def noises(self, network: nn.Module, x: Tensor) -> list[Tensor]:
        """The network's noises ``[B, 3, H, W]``, the protection last."""
        with self.job.autocast():
            noises = network(x, self.job.epsilon)
        return [noise.float() for noise in noises]

    def noise_weight(self, published: float) -> float:
        """The weight of the noise's mse at which the largest allowed noise costs what it costs at the paper's epsilon.

        With a weight of 10 that is 10 * 0.01 = 0.1; unchanged, it would be 0.9 at 0.3.
        """
        return published * (PAPER_EPSILON / self.job.epsilon) ** 2

    def manipulate(self, x: Tensor, keys: list[str]) -> Tensor:
        """G(x), raw."""
        with self.job.autocast():
            return self.manipulator.manipulate(x, keys).float()

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to hold beside the network."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027 - nothing to take back is the common case
        """Takes back what :meth:`state` gave."""


def protected(x: Tensor, noise: Tensor) -> Tensor:
    """clip(x + noise) (equations 3 and 6)."""
    return (x + noise).clamp(-1, 1)


def soft_clamp(y: Tensor) -> Tensor:
    """Clamped as every metric sees it, with a little slope left so that a saturated pixel can come back."""
    inside = y.clamp(-1, 1)
    return inside + CLAMPED_SLOPE * (y - inside)


def log_amplification(pair: Pair) -> Tensor:
    """log of mse(y, y_p) over mse(px, px_p), ``[B]``, kept finite where either is small."""
    assert pair.px is not None
    assert pair.px_p is not None
    mse_in = (pair.px_p - pair.px).square().mean((1, 2, 3))
    mse_out = (pair.y_p - pair.y).square().mean((1, 2, 3))
    return torch.log((mse_out + 3e-3) / (mse_in + 3e-3))


def _means(parts: list[Part]) -> dict[str, float]:
    """What was reached, over all faces."""
    n = sum(part.faces for part in parts)
    names = dict.fromkeys(itertools.chain.from_iterable(part.reached for part in parts))
    return {name: sum(part.reached[name] * part.faces for part in parts) / n for name in names}


def train(method: type[LearnedProtector], objective: Objective, job: TrainingJob, how: str) -> Path:
    """Runs or resumes the training; returns the file of the averaged weights, with its card beside it.

    Args:
        method: whose network is trained.
        objective: takes the steps.
        job: faces, number of steps, folder.
        how: of the objective, in one sentence, for the card.
    """
    stem = method.stem(objective.manipulator)
    with seeded(job.seed):
        network = method.build(objective.manipulator.track)
    if job.start is not None:
        network.load_state_dict(load_weights(*job.start)[0])
    network.to(job.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), objective.learning_rate)
    validation, curve = Validation(objective.manipulator, job), Curve(job.folder)
    first, revisions = 0, [job.revision or version("arsbench")]
    state = job.resume()
    if state is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        objective.restore(state["objective"])
        curve.points = state["curve"]
        first = state["step"]
        revisions = list(dict.fromkeys([*state["revisions"], *revisions]))
    for step in range(first, job.steps):
        for group in optimizer.param_groups:
            group["lr"] = objective.learning_rate * _decay(step, job.steps)
        x, keys = job.faces(step * job.batch, job.batch)
        with seeded(draw(f"step {step}", "dropout", job.seed), job.device):
            reached = objective.step(network, optimizer, x.to(job.device), keys, step)
        update_average(average, network, step, AVERAGE_DECAY)
        done = step + 1
        if done % VALIDATE_EVERY == 0:
            curve.add(done, done * job.batch, validation.measure(average))
        if done % CHECKPOINT_EVERY == 0 or done == job.steps:
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "objective": objective.state(),
                "curve": curve.points,
                "revisions": revisions,
            }
            job.keep(state, done, reached | (curve.newest() if done % VALIDATE_EVERY == 0 else {}))
        job.report(done, reached)
    finished = objective.finish(average, validation.measure)
    if finished or job.steps % VALIDATE_EVERY:
        curve.add(job.steps, job.steps * job.batch, validation.measure(average))
    curve.write()
    made_by = {"how": how + finished, "revision": ", ".join(revisions)}
    return save_weights(job.folder, stem, average.state_dict(), card(method, objective, job, made_by, curve.newest()))


def card(
    method: type[LearnedProtector],
    objective: Objective,
    job: TrainingJob,
    made_by: dict[str, str],
    reached: dict[str, float],
) -> dict[str, object]:
    """What stands beside the weights; ``made_by`` says how, and at which revision."""
    against = objective.manipulator
    options = "" if job.start is None else f" --start {job.start[1]}.safetensors"
    options += f" --accumulate {job.accumulate}" if job.accumulate > 1 else ""
    return {
        "what": f"{method.name} against {against.name}, epsilon {job.epsilon}",
        "epsilon": job.epsilon,
        "manipulator_sha256": against.weights_sha256,
        "data": f"synthetic faces of the shipped generator, {job.steps * job.batch} in all",
        "recipe": f"{job.steps} steps of {job.batch} faces, Adam {objective.learning_rate}"
        + (f", started from {job.start[1]}" if job.start else "")
        + f"; {made_by['how']}",
        "revision": made_by["revision"],
        "command": f"arsbench train {method.name} --manipulator {against.name} --steps {job.steps} "
        f"--batch {job.batch} --epsilon {job.epsilon} --seed {job.seed}{options}",
        "reached": {"faces": f"{len(job.validation[1])} of validation", **reached},
        "licence": "MIT",
        **job.started_from(),
    }


def _decay(step: int, steps: int) -> float:
    """Constant for the first half, then a cosine down to a twentieth."""
    late = max(0.0, 2 * step / steps - 1)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * late))
