"""Trains ``ars`` by equations 2 to 10 of the paper: theta of f by (2), psi of g by (10), phi of q by (8).

On the open track the target is *away from y*: the distances to white that (2), (9) and (10) minimise are distances from
y there, and maximised. What is met in training is the paper's p and q, none of the board's perturbations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from arsbench.contracts import Manipulator, Pair
from arsbench.draws import seeded
from arsbench.protectors.ars import ARS
from arsbench.protectors.networks.ars import AdversarialNet
from arsbench.protectors.perturbation_module import YCBCR, Operation, drop, perturbation_module, unperturbed
from arsbench.protectors.training import loop
from arsbench.protectors.training.loop import Measure, Objective, Part, log_amplification, protected, soft_clamp
from arsbench.training.job import TrainingJob

NOISE_WEIGHT = 10.0
"""lambda of equation 2 and lambda_2 of equation 10, at the paper's default epsilon."""
BASIC_SHARE = 0.2
"""f is trained for this share of the steps and then left as it is, which makes a step faster."""
WHOLE: tuple[Operation, ...] = (perturbation_module,) * 4
"""What each quarter of a batch goes through, by draws of its own: all of p, as the paper has it."""
QUARTERS: tuple[Operation, ...] = (unperturbed, drop, perturbation_module, perturbation_module)
"""Nothing, p_drop alone, and all of p, twice.

Through all of p alone the noise becomes smooth, and what a smooth noise moves G by is little once a perturbation that
is not among p's scales it down."""
LOUDER = (1.2, 1.4, 2.0, 4.0, 8.0)
"""What the trained noise is tried with, before it is clipped to epsilon; :meth:`Away.finish` keeps the best."""
DISTANCE_WEIGHT = 10.0
AMPLIFIED_WEIGHT = 1.0
LOST_ENOUGH = 0.5


@dataclass(frozen=True)
class Stage:
    """What is asked of the noise, by equation 10 and the two terms beside its distances.

    Attributes:
        quarters: what each quarter of a batch goes through.
        colour: how much of the outputs' colours counts in distance and amplification: 0 is their luma alone.
        distance_enough: mse from y beyond which nothing is gained.
        amplified_enough: logarithm of the amplification beyond which nothing is gained.
        noise_weight: lambda_2 of equation 10 and lambda of (2), at the paper's default epsilon.
    """

    quarters: tuple[Operation, ...]
    colour: float = 0.0
    distance_enough: float = 0.3
    amplified_enough: float = 0.7
    noise_weight: float = NOISE_WEIGHT


FROM_NOTHING = Stage(QUARTERS)
FURTHER = Stage(
    (drop, drop, perturbation_module, perturbation_module),
    colour=0.4,
    distance_enough=0.12,
    amplified_enough=0.3,
    noise_weight=1.0,
)
"""From weights that protect already (``--start``).

Where all of the noise reaches G, the outputs are far from y by now; what is still to gain is gained through p_drop,
which lets little of it through. And amplification rewards a quiet noise: no further than it is needed.
"""


def train(method: type[ARS], job: TrainingJob, manipulator: Manipulator) -> Path:
    """Runs or resumes the training of ``method``, to white on the paper track, away from y on the open one."""
    return _train(White if manipulator.track == "paper" else Away, method, job, manipulator)


def train_white(method: type[ARS], job: TrainingJob, manipulator: Manipulator) -> Path:
    """Runs or resumes the training of ``method`` to white on either track; returns the file of its weights."""
    return _train(White, method, job, manipulator)


def _train(target: type[Away], method: type[ARS], job: TrainingJob, manipulator: Manipulator) -> Path:
    met = " and ".join(name for name, met in (("p", method.perturbed), ("q", method.adversarial)) if met)
    how = f"{target.how}, {f'through the {met} of the paper' if met else 'without p and q'}"
    return loop.train(method, target(manipulator, job, method), job, how)


def faded(pictures: Tensor, colour: float) -> Tensor:
    """``[B, 3, H, W]`` -> their luma (BT.601) ``[B, 1, H, W]`` and, unless ``colour`` is 0, that share of the rest."""
    luma = torch.einsum("j,bjhw->bhw", torch.tensor(YCBCR[0]).to(pictures), pictures).unsqueeze(1)
    return colour * pictures + (1 - colour) * luma if colour else luma


class Away(Objective):
    """Pushes G away from y: by the basic noise, through p, and through p and q.

    Args:
        manipulator: G.
        job: faces, number of steps, epsilon.
        method: says whether there is a second way, p and q.
    """

    name = "ars"
    how: ClassVar[str] = "away from y"
    stages: ClassVar[tuple[Stage, Stage]] = (FROM_NOTHING, FURTHER)
    """From nothing, and from weights."""
    louder: ClassVar[tuple[float, ...]] = LOUDER
    learning_rate = 4e-4
    adversarial_weight: ClassVar[float] = 0.5
    """lambda_1 of equation 10; with the paper's 10 what q restores drowns the other terms."""
    adversarial_from: ClassVar[float] = 0.15
    """q comes in after this share of the steps: before, there is nothing for it to undo."""
    adversarial_rate: ClassVar[float] = 2e-4
    adversarial_base: ClassVar[int] = 8

    def __init__(self, manipulator: Manipulator, job: TrainingJob, method: type[ARS]) -> None:
        super().__init__(manipulator, job)
        self.method = method
        self.stage = self.stages[job.start is not None]
        with seeded(job.seed):
            adversary = AdversarialNet(self.adversarial_base)
        self.adversary = adversary.to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adversary_optimizer = torch.optim.Adam(self.adversary.parameters(), self.adversarial_rate)
        self._phi: list[tuple[int, tuple[Tensor, ...]]] = []

    def part(self, network: nn.Module, x: Tensor, keys: list[str], at: int, draws: torch.Generator) -> Part:
        """The loss of theta and psi, with q fixed; what q's own step needs is kept for :meth:`follow`."""
        steps, two_way = self.job.steps, self.method.two_way
        learns_basic = two_way and at < BASIC_SHARE * steps
        f = network.f
        assert isinstance(f, nn.Module)
        f.requires_grad_(learns_basic or not two_way).train(learns_basic or not two_way)
        basic, robust = self.noises(network, x)
        px, px_p = self._perturb(x, protected(x, robust), draws)
        with torch.no_grad():
            references = soft_clamp(self.manipulate(torch.cat([px, x]), keys * 2)).chunk(2)
        before, after = ([px, x], [px_p, protected(x, basic)]) if learns_basic else ([px], [px_p])
        outputs = soft_clamp(self.manipulate(torch.cat(after), keys * len(after))).chunk(len(after))
        gains = [
            self.gain(Pair(y, y_p, px=clean, px_p=attacked)).mean()
            for y, y_p, clean, attacked in zip(references, outputs, before, after, strict=False)
        ]
        reached = dict(zip(("gain_robust", "gain_basic"), (gain.item() for gain in gains), strict=False))
        noises = [robust, basic] if learns_basic else [robust]
        cost = torch.stack([noise.square().mean() for noise in noises]).sum()
        loss = self.noise_weight(self.stage.noise_weight) * cost - torch.stack(gains).sum()
        if self.method.adversarial and at >= self.adversarial_from * steps:
            restored, phi = self._undo(px_p, references[1], keys)
            loss, reached = loss + restored, reached | {"phi": phi}
        return Part(len(x), loss, reached | {"noise_mse": float(robust.detach().square().mean())})

    def gain(self, pair: Pair) -> Tensor:
        """``[B]``: the distance from y; and a little for an output that no levels tool brings back, and that G made.

        The distance alone ends in brightening, or in painted shadows that the manipulator only reproduces. Distance
        and amplification are of the outputs' luma, or mostly: noise that moves colours alone is not a robust one.
        """
        unrecovered = self.job.metrics["unrecovered"].measure(pair)
        assert unrecovered is not None
        lost = torch.log(unrecovered.float().clamp(max=LOST_ENOUGH) + 0.05)
        seen = replace(pair, y=faded(pair.y, self.stage.colour), y_p=faded(pair.y_p, self.stage.colour))
        amplified = log_amplification(seen).clamp(max=self.stage.amplified_enough)
        return self.distance(pair.y_p, pair.y) + lost + AMPLIFIED_WEIGHT * amplified

    def distance(self, y_p: Tensor, y: Tensor) -> Tensor:
        """What (9) and the first terms of (2) and (10) become, ``[B]``: the faded outputs' mse from y, up to enough."""
        away = faded(y_p - y, self.stage.colour).square().mean((1, 2, 3))
        return DISTANCE_WEIGHT * away.clamp(max=self.stage.distance_enough)

    def _perturb(self, x: Tensor, x_p: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """p(x) and p(x_p), by the same draws; x and x_p themselves where the method goes without p."""
        if not self.method.perturbed:
            return x, x_p
        quarters = self.stage.quarters
        size = math.ceil(len(x) / len(quarters))
        first = int(torch.randint(len(quarters), (), generator=draws))  # batches below four meet each in turn
        quarters = quarters[first:] + quarters[:first]
        clean, attacked = [], []
        for p, part, part_p in zip(quarters, torch.split(x, size), torch.split(x_p, size), strict=False):
            before = draws.get_state()
            attacked.append(p(part_p, part, draws))
            draws.set_state(before)
            clean.append(p(part, part, draws))
        return torch.cat(clean), torch.cat(attacked)

    def _undo(self, px_p: Tensor, y: Tensor, keys: list[str]) -> tuple[Tensor, float]:
        """The second term of (10), and the value of (8): both by one pass of G through what q makes of p(x_p)."""
        met = px_p.detach().requires_grad_(True)
        with self.job.autocast():
            undone = self.adversary(met).float()
        seen = undone.detach().requires_grad_(True)
        output = soft_clamp(self.manipulate(seen, keys))
        away = -self.adversarial_weight * self.distance(output, y).mean()
        phi = (output - y).square().mean()
        (towards_psi,) = torch.autograd.grad(away, seen, retain_graph=True)
        (towards_phi,) = torch.autograd.grad(phi, seen)
        (towards_noise,) = torch.autograd.grad(undone, met, towards_psi, retain_graph=True)
        self._phi.append((len(y), torch.autograd.grad(undone, list(self.adversary.parameters()), towards_phi)))
        # A value whose gradient at p(x_p) is that of the term, so that neither G nor q is passed again on the way back.
        term = (px_p * towards_noise).sum()
        return term - term.detach() + away.detach(), phi.item()

    def follow(self, at: int) -> None:
        """One step of q by (8), once it takes part, on the same pictures."""
        if not self._phi:
            return
        total = sum(faces for faces, _ in self._phi)
        for i, parameter in enumerate(self.adversary.parameters()):
            parameter.grad = torch.stack([gradients[i] * (faces / total) for faces, gradients in self._phi]).sum(0)
        self.adversary_optimizer.step()
        self._phi.clear()

    def finish(self, network: nn.Module, measure: Measure) -> str:
        """Multiplies the noise by the factor that holds best on the validation faces.

        Trained noise uses two thirds of the mean square that the budget allows.
        """
        last = network.get_submodule("g2.exit" if self.method.two_way else "f.exit")
        trained = {name: value.clone() for name, value in last.state_dict().items()}

        def scale(factor: float) -> None:
            last.load_state_dict({name: factor * value for name, value in trained.items()})

        def held(factor: float) -> float:
            scale(factor)
            return sum((float(row["sr_strict"]) for row in measure(network) if row["perturbation"] != "none"), 0.0)

        best = max((1.0, *self.louder), key=held) if self.louder else 1.0
        scale(best)
        return "" if best == 1 else f"; noise times {best} before the clip, by the validation faces"

    def state(self) -> dict[str, Any]:
        """The adversarial net and its optimiser."""
        return {"adversary": self.adversary.state_dict(), "adversary_optimizer": self.adversary_optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state` gave."""
        self.adversary.load_state_dict(state["adversary"])
        self.adversary_optimizer.load_state_dict(state["adversary_optimizer"])


class White(Away):
    """Pulls G towards a white picture: equations 2, 9 and 10 as printed."""

    name = "ars_white"
    how: ClassVar[str] = "to white"
    stages: ClassVar[tuple[Stage, Stage]] = (Stage(WHOLE), Stage(WHOLE))
    louder: ClassVar[tuple[float, ...]] = ()
    adversarial_weight: ClassVar[float] = 10.0
    """lambda_1 of equation 10."""

    def gain(self, pair: Pair) -> Tensor:
        """``[B]``: less the distance to white."""
        return self.distance(pair.y_p, pair.y)

    def distance(self, y_p: Tensor, y: Tensor) -> Tensor:
        """``[B]``: less the mse to white."""
        return -(y_p - torch.ones_like(y_p)).square().mean((1, 2, 3))
