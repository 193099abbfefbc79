"""Tiny methods for tests of the harness; also loaded as ``fakes.py:Class``."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.contracts import ArsbenchError, Manipulator, Perturbation, Protector
from arsbench.draws import uniform


class Mirror(Manipulator):
    """Deterministic, and too weak to let noise through; counts the images it has seen."""

    name = "mirror"
    seen: ClassVar[int] = 0

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        Mirror.seen += len(x)
        return 0.5 * x.flip(-1) + 0.1 * torch.tanh(4 * x)

    def conditions(self, keys: Sequence[str]) -> list[str]:
        return [f"of {key}" for key in keys]


class Hashed(Mirror):
    """Says that its outputs depend on nothing but its code."""

    name = "hashed"
    weights_sha256 = "of no weights"


class ThreadedMirror(Mirror):
    name = "threaded-mirror"
    thread_safe: ClassVar[bool] = True


class Slow(Mirror):
    name = "slow"

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        time.sleep(0.01)
        return super().manipulate(x, keys)


class Narrow(Mirror):
    """Holds two images at a time."""

    name = "narrow"

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().manipulate(x, keys)


class Huge(Manipulator):
    """Does not even hold one."""

    name = "huge"

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


class Dice(Manipulator):
    """Not deterministic."""

    name = "dice"

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return 0.5 * x + 0.1 * torch.rand_like(x)


class Loud(Manipulator):
    """Lets noise through."""

    name = "loud"

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return 2 * x


class Broken(Manipulator):
    name = "broken"

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return x * float("nan")


class UnitRange(Manipulator):
    name = "unit-range"

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return (0.9 * x + 1) / 2


class Plain(Manipulator):
    """A constructor of its own, without arguments."""

    name = "plain"

    def __init__(self) -> None:
        self.gain = 0.5

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return self.gain * x


class Push(Protector):
    """Draws from the keys; depends on the manipulator's gradient."""

    name = "push"

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        noise = uniform(keys, x.shape[1:], "push", self.seed) - 0.5
        start = (x + 0.01 * noise).requires_grad_()
        error = (self.manipulator.manipulate(start, keys) - self.manipulator.manipulate(x, keys)).square().sum()
        (gradient,) = torch.autograd.grad(error, start)
        return (x + self.epsilon * gradient.sign()).clamp(-1, 1)


class GlobalDraws(Protector):
    """Draws from the global generator, as it should not."""

    name = "global-draws"

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return (x + self.epsilon * torch.rand_like(x)).clamp(-1, 1)


class OverBudget(Protector):
    name = "over"

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return (x + 3 * self.epsilon).clamp(-1, 1)


class NotANumber(Protector):
    name = "nan"

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return x * float("nan")


class WrongShape(Protector):
    name = "shape"

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return x[..., :-1]


class Raises(Protector):
    name = "raises"

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        raise ZeroDivisionError("by nothing")


class Closes(Protector):
    """Raises what is no Exception."""

    name = "closes"

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        raise GeneratorExit


class FailsLate(Protector):
    """Fails on the fifth shipped test face."""

    name = "late"

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        if keys[0].endswith("12004"):
            raise RuntimeError("not this one")
        return x


class Fade(Perturbation):
    name = "fade"
    levels = (0.9, 0.8, 0.7, 0.6, 0.5)

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        return x * parameter


class Crash(Perturbation):
    name = "crash"
    levels = (1, 2, 3, 4, 5)

    def perturb(self, x: Tensor, parameter: float, keys: Sequence[str]) -> Tensor:
        if parameter > 3:
            raise ValueError("too much")
        return x


class Nameless(Protector):
    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        return x


class Unfinished(Protector):
    name = "unfinished"


class FourLevels(Fade):
    name = "four"
    levels = (1, 2, 3, 4)  # type: ignore[assignment]


class NotAMethod:
    name = "nothing"


class Official(Mirror):
    """Of the paper track; runs with random weights alone."""

    name = "official"
    track = "paper"
    checkpoints = ("absent",)

    def __init__(self, device="cpu", condition=None, condition_faces=None, condition_keys=(), random_weights=False):
        super().__init__(device, condition, condition_faces, condition_keys)
        if not random_weights:
            raise ArsbenchError("the official checkpoint 'absent' is not there")
        self.random_weights = True


class Threaded(Protector):
    """One gradient step; remembers the threads it worked in."""

    name = "threaded"
    thread_safe: ClassVar[bool] = True

    def __init__(self, manipulator: Manipulator, epsilon: float = 0.3, seed: int = 0) -> None:
        super().__init__(manipulator, epsilon, seed)
        self.threads: set[str] = set()

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        self.threads.add(threading.current_thread().name)
        start = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.manipulator.manipulate(start, keys).square().sum(), start)
        return (x + self.epsilon * gradient.sign()).clamp(-1, 1)


class Unpromised(Threaded):
    name = "unpromised"


class ThreadedCrash(Threaded):
    name = "threaded-crash"
    thread_safe: ClassVar[bool] = True

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        raise RuntimeError("no such picture")
