"""Trains ARS against one manipulator: the paper's targeted objective, and the untargeted one.

An objective takes one optimiser step per batch; :func:`train` does what both share: checkpoints, the averaged weights
that are shipped, validation, the log.
"""

from __future__ import annotations

import copy
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.contracts import Manipulator, Pair
from arsbench.draws import generator, seeded
from arsbench.protectors.checkpointing import checkpoint_blocks
from arsbench.protectors.networks.ars import AdversarialNet, ArsNetwork, Noises
from arsbench.protectors.perturbation_module import perturbation_module
from arsbench.protectors.random_perturbation import SIX, RandomPerturbation
from arsbench.training.average import update_average
from arsbench.training.job import TrainingJob
from arsbench.weights import load_weights, save_weights

CHECKPOINT_EVERY = 50
AVERAGE_DECAY = 0.995

NOISE_WEIGHT = 10.0
"""lambda of equation 2 and lambda_2 of equation 10, at the paper's default epsilon; see :func:`noise_weight`."""
NOISE_WEIGHT_EPSILON = 0.1
ADVERSARIAL_WEIGHT = 10.0
"""lambda_1 of equation 10."""
ADVERSARIAL_FROM = 0.85
"""q comes in after this share of the steps, and lambda_1 grows from 0 over the rest: a q that is ahead leaves a
protection that does not attack yet nothing to learn from."""
TARGETED_RATE = 4e-4
"""The paper's is 1e-4."""
ADVERSARIAL_BASE = 16

UNTARGETED_RATE = 4e-4
ROBUST_WEIGHT = 2.0
BASIC_SHARE = 0.5
"""f is trained for this share of the steps and then left as it is, which makes a step twice as fast; a training that
starts from finished weights leaves it as it is throughout."""
GROUPS = 4
CLEAN_SHARE = 0.1
SHARES = (0.16, 0.18, 0.22, 0.18, 0.12, 0.14)
"""How often each of the six is met; dropout, which takes most from the noise, most often."""
HARDNESS = 5.0


@dataclass(frozen=True)
class Part:
    """Some faces ``[B, 3, H, W]`` of a batch and what their loss left behind, ``perturbed`` for the adversarial net."""

    x: Tensor
    keys: list[str]
    loss: Tensor
    reached: dict[str, float] = field(default_factory=dict)
    perturbed: Tensor | None = None


class Objective(ABC):
    """One way to train the network against a manipulator."""

    name: ClassVar[str]
    learning_rate: ClassVar[float]

    def __init__(self, manipulator: Manipulator, job: TrainingJob) -> None:
        self.manipulator, self.job = manipulator, job
        if job.checkpointing:
            checkpoint_blocks(manipulator)

    def step(
        self, network: ArsNetwork, optimizer: torch.optim.Optimizer, x: Tensor, keys: list[str], at: int
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
        return _means(parts) | self.follow(parts, at)

    @abstractmethod
    def part(self, network: ArsNetwork, x: Tensor, keys: list[str], at: int, draws: torch.Generator) -> Part:
        """The mean loss of some faces of step ``at``, not yet differentiated."""

    def follow(self, parts: list[Part], at: int) -> dict[str, float]:
        """What else is updated after the network, on the same faces; returns what it reached."""
        return {}

    def protect(self, network: ArsNetwork, x: Tensor) -> tuple[Noises, Tensor, Tensor]:
        """The noises, and the basic and the robust protected pictures."""
        with self.job.autocast():
            noises = network(x, self.job.epsilon)
        noises = Noises(noises.basic.float(), noises.robust.float())
        return noises, (x + noises.basic).clamp(-1, 1), (x + noises.robust).clamp(-1, 1)

    def manipulate(self, x: Tensor, keys: list[str]) -> Tensor:
        """G(x), raw."""
        with self.job.autocast():
            return self.manipulator.manipulate(x, keys).float()

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to hold beside the network."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027 - nothing to take back is the common case
        """Takes back what :meth:`state` gave."""


class Untargeted(Objective):
    """Pushes G away from y, rewarding the three things that ``sr_strict`` asks for, clean (f) and perturbed (g)."""

    name = "ars_untargeted"
    learning_rate = UNTARGETED_RATE

    def part(self, network: ArsNetwork, x: Tensor, keys: list[str], at: int, draws: torch.Generator) -> Part:
        """Less the gain; each group of the faces meets one random perturbation, x and x_p alike."""
        _, x_basic, x_robust = self.protect(network, x)
        px, px_p = self._perturb(x, x_robust, keys, draws)
        before, after, weights = [px], [px_p], [ROBUST_WEIGHT]
        if self.job.start is None and at < BASIC_SHARE * self.job.steps:
            before, after, weights = [px, x], [px_p, x_basic], [ROBUST_WEIGHT, 1.0]
        clean, protected, names = torch.cat(before), torch.cat(after), keys * len(before)
        with torch.no_grad():
            references = self._soft_clamp(self.manipulate(clean, names))
        outputs = self._soft_clamp(self.manipulate(protected, names))
        gains = self._gain(Pair(references, outputs, px=clean, px_p=protected)).view(len(before), -1).mean(1)
        reached = dict(zip(("gain_robust", "gain_basic"), gains.tolist(), strict=False))
        return Part(x, keys, -gains @ gains.new_tensor(weights), reached)

    def _perturb(self, x: Tensor, x_p: Tensor, keys: list[str], draws: torch.Generator) -> tuple[Tensor, Tensor]:
        size = math.ceil(len(x) / GROUPS)
        parts = []
        for first in range(0, len(x), size):
            part, named = slice(first, first + size), keys[first : first + size]
            if float(torch.rand((), generator=draws)) < CLEAN_SHARE:
                parts.append((x[part], x_p[part]))
                continue
            p = RandomPerturbation.draw(draws, self.manipulator.track, SHARES, HARDNESS)
            parts.append((p(x[part], named), p(x_p[part], named)))
        return torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])

    def _soft_clamp(self, y: Tensor) -> Tensor:
        # Clamped as every metric sees it, with a little slope left so that a saturated pixel can come back.
        inside = y.clamp(-1, 1)
        return inside + 0.05 * (y - inside)

    def _gain(self, pair: Pair) -> Tensor:
        assert pair.px is not None
        assert pair.px_p is not None
        mse_out = (pair.y_p - pair.y).square().mean((1, 2, 3))
        mse_in = (pair.px_p - pair.px).square().mean((1, 2, 3))
        unrecovered = self.job.metrics["unrecovered"].measure(pair)
        assert unrecovered is not None
        amplified = torch.log((mse_out + 3e-3) / (mse_in + 3e-3))
        # The sigmoids are the three thresholds of sr_strict, softened and centred a little above them; the first weighs
        # most, because a low mse is what most failures fail by. What is reached is not rewarded further.
        changed = (mse_out + 1e-3).sqrt().clamp(max=0.32) + 2 * torch.sigmoid((mse_out - 0.06) / 0.015)
        attacked = 0.6 * torch.sigmoid((amplified - 0.15) / 0.15) + 0.1 * amplified.clamp(max=1.5)
        u = unrecovered.float()
        lost = 1.5 * torch.sigmoid((u - 0.29) / 0.05) + 0.3 * u.clamp(max=0.45)
        return changed + attacked + lost


class Targeted(Objective):
    """The paper's training: theta by (2), psi by (10) with the perturbation module, phi of q by (8)."""

    name = "ars"
    learning_rate = TARGETED_RATE

    def __init__(self, manipulator: Manipulator, job: TrainingJob) -> None:
        super().__init__(manipulator, job)
        with seeded(job.seed):
            adversary = AdversarialNet(ADVERSARIAL_BASE)
        self.adversary = adversary.to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adversary_optimizer = torch.optim.Adam(self.adversary.parameters(), TARGETED_RATE)

    def part(self, network: ArsNetwork, x: Tensor, keys: list[str], at: int, draws: torch.Generator) -> Part:
        """The loss of theta and psi, with q fixed."""
        noises, x_basic, x_robust = self.protect(network, x)
        perturbed = perturbation_module(x_robust, x, draws)
        pictures = [x_basic, perturbed]
        late = self._late(at)
        if late >= 0:
            self.adversary.requires_grad_(False)
            pictures.append(self._undo(perturbed))
        outputs = self.manipulate(torch.cat(pictures), keys * len(pictures)).chunk(len(pictures))
        to_white = torch.stack([F.mse_loss(y, torch.ones_like(y)) for y in outputs])
        weights = to_white.new_tensor([1.0, 1.0, ADVERSARIAL_WEIGHT * late / (1 - ADVERSARIAL_FROM)][: len(pictures)])
        noise = noises.basic.square().mean() + noises.robust.square().mean()
        reached = dict(zip(("white_basic", "white_robust", "white_undone"), to_white.tolist(), strict=False))
        loss = to_white @ weights + noise_weight(self.job.epsilon) * noise
        return Part(x, keys, loss, reached, perturbed.detach())

    def follow(self, parts: list[Part], at: int) -> dict[str, float]:
        """One step of q by (8), once it takes part, on the same pictures with theta and psi fixed."""
        if self._late(at) < 0:
            return {}
        self.adversary.requires_grad_(True)
        self.adversary_optimizer.zero_grad(set_to_none=True)
        reached = 0.0
        for part in parts:
            assert part.perturbed is not None
            share = len(part.x) / sum(len(each.x) for each in parts)
            with torch.no_grad():
                y = self.manipulate(part.x, part.keys)
            phi = F.mse_loss(self.manipulate(self._undo(part.perturbed), part.keys), y) * share
            phi.backward()  # type: ignore[no-untyped-call]
            reached += phi.item()
        self.adversary_optimizer.step()
        return {"phi": reached}

    def _late(self, at: int) -> float:
        """How far into the share of the steps with q; negative before."""
        return at / self.job.steps - ADVERSARIAL_FROM

    def _undo(self, perturbed: Tensor) -> Tensor:
        with self.job.autocast():
            undone: Tensor = self.adversary(perturbed)
        return undone

    def state(self) -> dict[str, Any]:
        """The adversarial net and its optimiser."""
        return {"adversary": self.adversary.state_dict(), "adversary_optimizer": self.adversary_optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state` gave."""
        self.adversary.load_state_dict(state["adversary"])
        self.adversary_optimizer.load_state_dict(state["adversary_optimizer"])


def _means(parts: list[Part]) -> dict[str, float]:
    """What was reached, over all faces."""
    n = sum(len(part.x) for part in parts)
    names = dict.fromkeys(itertools.chain.from_iterable(part.reached for part in parts))
    return {name: sum(part.reached[name] * len(part.x) for part in parts) / n for name in names}


def noise_weight(epsilon: float) -> float:
    """lambda, so that the largest allowed noise costs what it costs at the paper's epsilon.

    At 0.1 it costs 10 * 0.01 = 0.1; an unchanged lambda would make it 0.9 at 0.3, more than any attack gains.
    """
    return NOISE_WEIGHT * (NOISE_WEIGHT_EPSILON / epsilon) ** 2


def train(network: ArsNetwork, objective: Objective, job: TrainingJob, stem: str) -> Path:
    """Runs or resumes the training; returns the file of the averaged weights, with its card beside it."""
    with seeded(job.seed):
        _initialise(network)
    if job.start is not None:
        network.load_state_dict(load_weights(*job.start)[0])
    network.to(job.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), objective.learning_rate)
    first = 0
    state = job.resume()
    if state is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        objective.restore(state["objective"])
        first = state["step"]
    for step in range(first, job.steps):
        for group in optimizer.param_groups:
            group["lr"] = objective.learning_rate * _decay(step, job.steps)
        x, keys = job.faces(step * job.batch, job.batch)
        reached = objective.step(network, optimizer, x.to(job.device), keys, step)
        update_average(average, network, step, AVERAGE_DECAY)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == job.steps:
            reached |= validate(average, objective.manipulator, job)
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "objective": objective.state(),
            }
            job.keep(state, step + 1, reached)
        job.report(step + 1, reached)
    reached = validate(average, objective.manipulator, job)
    return save_weights(job.folder, stem, average.state_dict(), card(objective, stem, job, reached))


def card(objective: Objective, stem: str, job: TrainingJob, reached: dict[str, float]) -> dict[str, object]:
    """What stands beside the weights."""
    name = stem.split("--")[0]
    start = "" if job.start is None else f" --start {job.start[1]}.safetensors"
    start += f" --accumulate {job.accumulate}" if job.accumulate > 1 else ""
    return {
        "what": f"{name} against {objective.manipulator.name}, epsilon {job.epsilon}",
        "epsilon": job.epsilon,
        "manipulator_sha256": objective.manipulator.weights_sha256,
        "data": f"synthetic faces of the shipped generator, {job.steps * job.batch} in all",
        "recipe": f"{job.steps} steps of {job.batch} faces, Adam {objective.learning_rate}"
        + (f", started from {job.start[1]}" if job.start else "")
        + "; protectors/ars_training.py",
        "command": f"arsbench train {name} --manipulator {objective.manipulator.name} --steps {job.steps} "
        f"--batch {job.batch} --epsilon {job.epsilon} --seed {job.seed}{start}",
        "reached": {"faces": "validation", **{metric: round(value, 4) for metric, value in reached.items()}},
        "licence": "MIT",
        **job.started_from(),
    }


@torch.no_grad()
def validate(network: ArsNetwork, manipulator: Manipulator, job: TrainingJob) -> dict[str, float]:
    """What to watch on the validation faces: the noise's mse, ``sr_strict`` clean and at level 5 of each of the six."""
    network.eval()
    x, keys = job.validation[0].to(job.device), job.validation[1]
    x_p = (x + network(x, job.epsilon).robust).clamp(-1, 1)
    reached = {"noise_mse": float((x_p - x).square().mean())}
    for name, px, px_p in [("none", x, x_p), *_hardest(x, x_p, keys, manipulator.track)]:
        outputs = manipulator.manipulate(torch.cat([px, px_p]), keys * 2).clamp(-1, 1)
        y, y_p = outputs.chunk(2)
        pair = Pair(y, y_p, px=px, px_p=px_p)
        strict, unrecovered, amplification = (
            job.metrics[metric].measure(pair) for metric in ("sr_strict", "unrecovered", "amplification")
        )
        assert strict is not None
        assert unrecovered is not None
        assert amplification is not None
        reached |= {
            f"strict_{name}": float(strict.mean()),
            f"unrecovered_{name}": float(unrecovered.mean()),
            f"amplification_{name}": float(amplification.nanmedian()),
        }
    reached["strict"] = sum(reached[f"strict_{kind.name}"] for kind in SIX) / len(SIX)
    return reached


def _hardest(x: Tensor, x_p: Tensor, keys: list[str], track: str) -> Iterator[tuple[str, Tensor, Tensor]]:
    for kind in SIX:
        p, parameter = kind(), kind.track_levels(track)[-1]
        yield kind.name, p.perturb(x, parameter, keys), p.perturb(x_p, parameter, keys)


def _initialise(network: ArsNetwork) -> None:
    """Draws the weights; the last layers start small, far from the bound."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    for unet in (network.f, network.g2):
        nn.init.normal_(unet.exit.weight, std=0.02)


def _decay(step: int, steps: int) -> float:
    """Constant for the first half, then a cosine down to a twentieth."""
    late = max(0.0, 2 * step / steps - 1)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * late))
