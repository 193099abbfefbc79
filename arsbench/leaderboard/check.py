"""``arsbench check``: whether a protector keeps the rules of the board, before hours are spent on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from arsbench import registry
from arsbench.contracts import ArsbenchError, Manipulator, Protector
from arsbench.draws import draw
from arsbench.faces.delivery import TOLERANCE, deliver
from arsbench.leaderboard.entry import Flag
from arsbench.leaderboard.flags import (
    BATCH,
    EXPLAINED,
    FINDINGS,
    FLAT,
    SAME,
    SATURATED,
    SLOW,
    SMALL_EPSILON,
)
from arsbench.leaderboard.grid import EPSILON, SEED, compute, prepared_for
from arsbench.process_state import undisturbed
from arsbench.protocol import groups
from arsbench.registry import Method, describe
from arsbench.running.loading import make_protector
from arsbench.running.prepare import Prepared
from arsbench.running.progress import NoProgress

GRID_FACES = 2
STRANGE_KEY = "Ünrelated / face, no. 7.jpg"


@dataclass
class Report:
    """What was found of a method.

    Attributes:
        name: of the method.
        flags: the findings, each kind once.
        seconds_per_face: of protecting; ``None`` where that was not reached.
        rows: of the grid that were computed.
    """

    name: str
    flags: list[Flag] = field(default_factory=list)
    seconds_per_face: float | None = None
    rows: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing keeps the method off the board."""
        return all(flag.level != "error" for flag in self.flags)

    def add(self, name: str, what: str, error: bool = False) -> None:
        """A finding; the first of its kind stays. ``error`` makes one of a warning."""
        if name not in {flag.name for flag in self.flags}:
            level = "error" if error else FINDINGS[name].level
            self.flags.append(Flag(name=name, level=level, what=what[:2000]))


class _Stop(Exception):
    """Nothing more can be learnt of the method."""


def check(method: str | type, track: str = "open", grid: bool = True, progress: NoProgress | None = None) -> Report:
    """Checks a protector; see docs/flags.md for what is looked at.

    Args:
        method: a name, ``FILE.py:Class``, ``folder:DIR`` or a class.
        track: whose manipulators and faces.
        grid: end with two faces through every cell.
        progress: what is shown meanwhile.

    Raises:
        ArsbenchError: there is no such method.
    """
    found = registry.find("protector", method)
    prepared, name = prepared_for(method, track, BATCH, manipulator=groups("manipulator")["all"][0])
    report = Report(name)
    if found.cls.ceiling:
        return report
    model = next(iter(prepared.manipulators.values()))
    faces = prepared.source.batch(range(BATCH))
    trial = _Trial(found, model, faces, prepared.source.keys, report)
    try:
        trial.rules()
        trial.worth()
    except _Stop:
        return report
    if grid:
        _grid(report, *prepared_for(method, track, GRID_FACES), progress)
    return report


def _grid(report: Report, prepared: Prepared, name: str, progress: NoProgress | None) -> None:
    rows, failures = compute(prepared, lambda cell, _: cell.protector == name, progress=progress)
    report.rows = len(rows)
    if failures:
        report.add("grid", failures[0].sentence)


# --- one protector --------------------------------------------------------------------------------------------------


@dataclass
class _Trial:
    """A method with three faces against one manipulator."""

    method: Method
    model: Manipulator
    x: Tensor
    keys: list[str]
    report: Report

    def make(self, epsilon: float = EPSILON) -> Protector:
        return make_protector(self.method, self.model, epsilon, SEED)

    def call(self, protector: Protector, x: Tensor, keys: Sequence[str], seed: int | None = None) -> Any:
        """protect() as the harness calls it; what it raises is a finding."""
        purpose = draw(keys[0], f"protect {self.method.name}", protector.seed) if seed is None else seed
        try:
            with undisturbed(purpose) as found, torch.enable_grad():
                made = protector.protect(x, list(keys))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            said = str(error) if isinstance(error, ArsbenchError) else describe(error)
            self.report.add("raises", f"for the face '{keys[0]}': {said}")
            raise _Stop from error
        if found.settings:
            self.report.add("global-state", f"a call changes {', '.join(found.settings)}")
        if found.generators:
            self.report.add("global-generator", f"a call changes the generator of {', '.join(found.generators)}")
        return made

    def single(self, index: int, protector: Protector | None = None, seed: int | None = None) -> Tensor:
        """The delivered picture ``[1, 3, H, W]`` of one face."""
        x, keys = self.x[index : index + 1].clone(), self.keys[index : index + 1]
        made = self.call(protector or self.make(), x, keys, seed)
        return deliver(made)

    def rules(self) -> None:
        """What a protector must and must not do."""
        self._output()
        if not self.report.passed:
            raise _Stop
        alone = [self.single(i) for i in range(BATCH)]
        self._determinism(alone[0])
        protector = self.make()
        first_other = self.single(1, protector)
        after = self.single(0, protector)
        if _differ(after, alone[0]) or _differ(first_other, alone[1]):
            self.report.add("order-dependence", f"'{self.keys[0]}' after '{self.keys[1]}' is another picture")
        together = self.call(self.make(), self.x.clone(), self.keys)
        promised = bool(getattr(self.method.cls, "batch_invariant", False))
        if not isinstance(together, Tensor) or together.shape != self.x.shape:
            self.report.add("batch-dependence", f"{BATCH} faces at once do not give {BATCH} pictures", promised)
        elif _differ(deliver(together), torch.cat(alone)):
            difference = float((deliver(together) - torch.cat(alone)).abs().mean())
            self.report.add("batch-dependence", f"a mean difference of {difference:.4f}", promised)
        if not hasattr(self.method.cls, "folder"):
            self.call(self.make(), self.x[:1].clone(), [STRANGE_KEY])

    def _output(self) -> None:
        """Type, shape, range and budget of one picture."""
        x, add = self.x[:1], self.report.add
        given, model = x.clone(), _model_state(self.model)
        began = time.perf_counter()
        try:
            made = self.call(self.make(), given, self.keys[:1])
        finally:
            seconds = self.report.seconds_per_face = time.perf_counter() - began
            now = _model_state(self.model)
            parts = [name for name in now if now[name] != model.get(name)]
            if parts:
                add("changes-manipulator", f"after a call: {', '.join(parts[:3])}")
        if not isinstance(made, Tensor) or made.dtype != torch.float32:
            add("type", f"it returns {made.dtype if isinstance(made, Tensor) else type(made).__name__}")
        elif made.shape != x.shape:
            add("shape", f"{list(made.shape)} for {list(x.shape)}")
        elif not bool(torch.isfinite(made).all()):
            add("not-finite", f"{int((~torch.isfinite(made)).sum())} values are not finite")
        if {"type", "shape", "not-finite"} & {flag.name for flag in self.report.flags}:
            raise _Stop
        if not torch.equal(given, x):
            add("changes-input", "x holds other values after the call")
        _range_and_budget(made.detach(), x, add)
        if seconds > SLOW:
            add("slow", f"{seconds:.1f} s per face")
        if not hasattr(self.method.cls, "folder"):
            change = float((self.single(0, self.make(SMALL_EPSILON)) - x).abs().max())
            if change > SMALL_EPSILON + TOLERANCE:
                add("ignores-epsilon", f"a change of {change:.3f} where epsilon is {SMALL_EPSILON:g}")

    def _determinism(self, first: Tensor) -> None:
        again = self.single(0)
        if _differ(again, first):
            difference = float((again - first).abs().mean())
            self.report.add("not-deterministic", f"two calls differ by {difference:.4f} on average")
        elif _differ(self.single(0, seed=1), self.single(0, seed=2)):
            self.report.add("global-generator", "the picture depends on how the global generators are seeded")

    def worth(self) -> None:
        """Signs that a success would be none."""
        protected = torch.cat([self.single(i) for i in range(BATCH)])
        change = protected - self.x
        if not bool(change.any()):
            self.report.add("no-change", f"none of {BATCH} faces changes")
            return
        ends = (protected.abs() > 1 - 1e-6) & ~(self.x.abs() > 1 - 1e-6)
        if (share := float(ends.float().mean())) > SATURATED:
            self.report.add("saturation", f"{share:.0%} of all values are newly at an end of the range")
        if (explained := _explained(self.x, change)) > EXPLAINED:
            self.report.add("brightening", f"{explained:.0%} of the change is a gain and an offset per channel")
        if hasattr(self.method.cls, "folder"):
            return
        half = torch.cat([self.single(i, self.make(EPSILON / 2)) for i in range(BATCH)])
        at_full, at_half = (self._effect(pictures) for pictures in (protected, half))
        if at_full < FLAT * at_half:
            self.report.add(
                "gradient-masking", f"mse {at_full:.4f} at epsilon {EPSILON:g}, {at_half:.4f} at half of it"
            )

    @torch.no_grad()
    def _effect(self, pictures: Tensor) -> float:
        outputs = [self.model.manipulate(given, self.keys).clamp(-1, 1) for given in (self.x, pictures)]
        return float((outputs[0] - outputs[1]).square().mean())


def _range_and_budget(made: Tensor, x: Tensor, add: Callable[[str, str], None]) -> None:
    low, high = float(made.min()), float(made.max())
    over = float((deliver(made) - x).abs().max())
    as_unit = float((deliver(2 * made - 1) - x).abs().max())
    if low >= 0 and float(x.min()) < 0 and over > EPSILON + TOLERANCE and as_unit <= EPSILON + TOLERANCE:
        add("range", f"values from {low:.2f} to {high:.2f}: this looks like [0, 1]; return 2 * x_p - 1")
    elif low < -1.001 or high > 1.001:
        add("range", f"values from {low:.2f} to {high:.2f}")
    if over > EPSILON + TOLERANCE:
        add("budget", f"a change of {over:.4f} where epsilon is {EPSILON:g}")


def _explained(x: Tensor, change: Tensor) -> float:
    """The share of the change's energy that a gain and an offset per image and channel make."""
    flat, noise = x.flatten(2), change.flatten(2)
    centred, offset = flat - flat.mean(-1, keepdim=True), noise.mean(-1, keepdim=True)
    gain = (centred * (noise - offset)).sum(-1, keepdim=True) / centred.square().sum(-1, keepdim=True).clamp_min(1e-12)
    rest = noise - offset - gain * centred
    return float(1 - rest.square().sum() / noise.square().sum().clamp_min(1e-12))


def _differ(a: Tensor, b: Tensor) -> bool:
    return a.shape != b.shape or float((a - b).abs().mean()) > SAME


def _model_state(model: Manipulator) -> dict[str, object]:
    """Modes, weights, buffers and gradients of the modules that a manipulator holds."""
    found: dict[str, object] = {}
    for attribute, value in vars(model).items():
        if not isinstance(value, nn.Module):
            continue
        for name, module in value.named_modules():
            found[f"mode of {attribute}.{name}"] = module.training
        for name, tensor in [*value.named_parameters(), *value.named_buffers()]:
            content = hash(tensor.detach().cpu().contiguous().numpy().tobytes())
            found[f"{attribute}.{name}"] = (content, tensor.requires_grad, tensor.grad is None)
    return found
