"""``arsbench check``: whether a protector keeps the rules of the board, before hours are spent on it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arsbench import registry
from arsbench.contracts import ArsbenchError, Manipulator, Protector
from arsbench.draws import draw, seeded
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
from arsbench.protocol import groups
from arsbench.registry import Method, describe
from arsbench.running.loading import make_protector
from arsbench.running.prepare import Prepared
from arsbench.running.progress import NoProgress

GRID_FACES = 2
STRANGE_SEED = 918273645
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
    prepared, name = prepared_for(method, track, BATCH, groups("manipulator")["all"][0])
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
        purpose = draw(keys[0], f"protect {self.method.name}", protector.seed)
        try:
            with _settings_kept(), seeded(purpose if seed is None else seed), torch.enable_grad():
                return protector.protect(x.clone(), list(keys))
        except (Exception, SystemExit) as error:
            said = str(error) if isinstance(error, ArsbenchError) else describe(error)
            self.report.add("raises", f"for the face '{keys[0]}': {said}")
            raise _Stop from error

    def single(self, index: int, protector: Protector | None = None, seed: int | None = None) -> Tensor:
        """The delivered picture ``[1, 3, H, W]`` of one face."""
        made = self.call(protector or self.make(), self.x[index : index + 1], self.keys[index : index + 1], seed)
        return deliver(made)

    def rules(self) -> None:
        """What a protector must and must not do."""
        self._output()
        if not self.report.passed:
            raise _Stop
        self._generators()
        alone = [self.single(i) for i in range(BATCH)]
        self._determinism(alone[0])
        protector = self.make()
        first_other = self.single(1, protector)
        after = self.single(0, protector)
        if _differ(after, alone[0]) or _differ(first_other, alone[1]):
            self.report.add("order-dependence", f"'{self.keys[0]}' after '{self.keys[1]}' is another picture")
        together = self.call(self.make(), self.x, self.keys)
        promised = bool(getattr(self.method.cls, "batch_invariant", False))
        if not isinstance(together, Tensor) or together.shape != self.x.shape:
            self.report.add("batch-dependence", f"{BATCH} faces at once do not give {BATCH} pictures", promised)
        elif _differ(deliver(together), torch.cat(alone)):
            difference = float((deliver(together) - torch.cat(alone)).abs().mean())
            self.report.add("batch-dependence", f"a mean difference of {difference:.4f}", promised)
        if not hasattr(self.method.cls, "folder"):
            self.call(self.make(), self.x[:1], [STRANGE_KEY])

    def _output(self) -> None:
        """Type, shape, range and budget of one picture."""
        x, add = self.x[:1], self.report.add
        given, model = x.clone(), _model_state(self.model)
        began = time.perf_counter()
        with _settings_kept(), seeded(draw(self.keys[0], f"protect {self.method.name}", SEED)), torch.enable_grad():
            before = _settings()
            try:
                made = self.make().protect(given, self.keys[:1])
            except (Exception, SystemExit) as error:
                said = str(error) if isinstance(error, ArsbenchError) else describe(error)
                add("raises", f"for the face '{self.keys[0]}': {said}")
                raise _Stop from error
            finally:
                seconds = self.report.seconds_per_face = time.perf_counter() - began
                self._compare(before, _settings(), model)
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

    def _compare(self, before: dict[str, object], after: dict[str, object], model: dict[str, object]) -> None:
        """torch's settings and the manipulator, before and after the first call."""
        changed = [name for name in before if before[name] != after[name]]
        if changed:
            self.report.add("global-state", f"a call changes {', '.join(changed)}")
        now = _model_state(self.model)
        parts = [name for name in now if now[name] != model.get(name)]
        if parts:
            self.report.add("changes-manipulator", f"after a call: {', '.join(parts[:3])}")

    def _generators(self) -> None:
        """The generators, without the harness's own seeding."""
        protector = self.make()
        with _generators_kept(), _settings_kept():
            # Into states that no method would seed.
            torch.manual_seed(STRANGE_SEED)
            np.random.seed(STRANGE_SEED)  # noqa: NPY002 - the global generator is what is looked at
            random.seed(STRANGE_SEED)
            states = _generator_states()
            _quietly(lambda: protector.protect(self.x[:1].clone(), self.keys[:1]))
            touched = [name for name, state in _generator_states().items() if state != states[name]]
        if touched:
            self.report.add("global-generator", f"a call changes the generator of {', '.join(touched)}")

    def _determinism(self, first: Tensor) -> None:
        with _generators_kept():
            random.seed(1)
            np.random.seed(1)  # noqa: NPY002 - the global generator is what is looked at
            one = self.single(0)
            random.seed(2)
            np.random.seed(2)  # noqa: NPY002
            two = self.single(0)
        if _differ(one, two) or _differ(one, first):
            difference = float((one - two).abs().mean())
            self.report.add("not-deterministic", f"two calls differ by {difference:.4f} on average")
        elif _differ(self.single(0, seed=1), self.single(0, seed=2)):
            self.report.add("global-generator", "the picture depends on torch.manual_seed")

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


def _quietly(call: Callable[[], object]) -> None:
    with torch.enable_grad():
        try:
            call()
        except (Exception, SystemExit) as error:
            raise _Stop from error


# --- what must stay as it is ----------------------------------------------------------------------------------------


def _settings() -> dict[str, object]:
    return {
        "the default dtype": torch.get_default_dtype(),
        "whether gradients are on": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the precision of float32": torch.get_float32_matmul_precision(),
    }


@contextmanager
def _settings_kept() -> Iterator[None]:
    dtype, grad, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    deterministic, precision = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_float32_matmul_precision(precision)


def _generator_states() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global generator is what is looked at
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (kind, np.asarray(keys).tobytes(), *rest),
        "Python": random.getstate(),
    }


@contextmanager
def _generators_kept() -> Iterator[None]:
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        random.setstate(kept[2])


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
