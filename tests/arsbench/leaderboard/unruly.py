"""A method for each finding of ``arsbench check``; its name is the finding's."""

from __future__ import annotations

import asyncio
import random
import time

import numpy as np
import torch

from arsbench.contracts import Protector
from arsbench.draws import uniform


class Clean(Protector):
    """Random signs by key, at four fifths of the budget."""

    name = "clean"

    def protect(self, x, keys):
        noise = uniform(keys, x.shape[1:], "clean", self.seed).sub(0.5).sign()
        return (x + 0.8 * self.epsilon * noise).clamp(-1, 1)


class Raises(Clean):
    name = "raises"

    def protect(self, x, keys):
        raise ZeroDivisionError("by nothing")


class Leaves(Clean):
    name = "leaves"

    def protect(self, x, keys):
        raise SystemExit(0)


class Cancels(Clean):
    name = "cancels"

    def protect(self, x, keys):
        raise asyncio.CancelledError


class ParsesKeys(Clean):
    """Works for the names of the shipped faces alone."""

    name = "parses-keys"

    def protect(self, x, keys):
        [int(key.split("/")[2]) for key in keys]
        return super().protect(x, keys)


class Type(Clean):
    name = "type"

    def protect(self, x, keys):
        return super().protect(x, keys).numpy()


class Dtype(Clean):
    name = "dtype"

    def protect(self, x, keys):
        return super().protect(x, keys).double()


class Shape(Clean):
    name = "shape"

    def protect(self, x, keys):
        return x[..., 1:]


class NotFinite(Clean):
    name = "not-finite"

    def protect(self, x, keys):
        return x / 0


class UnitRange(Clean):
    name = "range"

    def protect(self, x, keys):
        return (super().protect(x, keys) + 1) / 2


class Beyond(Clean):
    """Leaves the range, though not the budget."""

    name = "beyond"

    def protect(self, x, keys):
        return torch.where(x == x.amax(), 1.2, x)


class Budget(Clean):
    name = "budget"

    def protect(self, x, keys):
        return (x + 2 * self.epsilon * uniform(keys, x.shape[1:], "b").sub(0.5).sign()).clamp(-1, 1)


class IgnoresEpsilon(Clean):
    name = "ignores-epsilon"

    def protect(self, x, keys):
        self.epsilon = 0.3
        return super().protect(x, keys)


class Unseeded(Clean):
    name = "not-deterministic"

    def protect(self, x, keys):
        noise = torch.from_numpy(np.random.default_rng().random(x.shape)).float().sub(0.5).sign()
        return (x + 0.8 * self.epsilon * noise).clamp(-1, 1)


class NumpyDraws(Clean):
    name = "numpy-draws"

    def protect(self, x, keys):
        noise = torch.from_numpy(np.random.rand(*x.shape)).float().sub(0.5).sign()  # noqa: NPY002
        return (x + 0.8 * self.epsilon * noise).clamp(-1, 1)


class PythonDraws(Clean):
    name = "python-draws"

    def protect(self, x, keys):
        return super().protect(x, [str(random.random()) for _ in keys])


class TorchDraws(Clean):
    name = "global-generator"

    def protect(self, x, keys):
        return (x + 0.8 * self.epsilon * torch.rand_like(x).sub(0.5).sign()).clamp(-1, 1)


class Seeds(Clean):
    name = "seeds"

    def protect(self, x, keys):
        np.random.seed(0)  # noqa: NPY002
        return super().protect(x, keys)


class BatchDependence(Clean):
    name = "batch-dependence"

    def protect(self, x, keys):
        return (x + 0.8 * self.epsilon * (super().protect(x, keys) - x).mean(0, keepdim=True).sign()).clamp(-1, 1)


class BrokenPromise(BatchDependence):
    name = "broken-promise"
    batch_invariant = True


class OrderDependence(Clean):
    name = "order-dependence"
    calls = 0

    def protect(self, x, keys):
        self.calls += 1
        return super().protect(x, [f"{key} {self.calls}" for key in keys])


class ChangesInput(Clean):
    name = "changes-input"

    def protect(self, x, keys):
        return x.add_(super().protect(x, keys) - x)


class ChangesManipulator(Clean):
    name = "changes-manipulator"

    def protect(self, x, keys):
        self.manipulator.model.train()
        return super().protect(x, keys)


class LeavesGradients(Clean):
    name = "leaves-gradients"

    def protect(self, x, keys):
        for weight in self.manipulator.model.parameters():
            weight.requires_grad_()
        self.manipulator.manipulate(x, keys).sum().backward()
        return super().protect(x, keys)


class GlobalState(Clean):
    name = "global-state"

    def protect(self, x, keys):
        x_p = super().protect(x, keys)
        torch.set_default_dtype(torch.float64)
        return x_p


class Slow(Clean):
    name = "slow"

    def protect(self, x, keys):
        time.sleep(0.05)
        return super().protect(x, keys)


class NoChange(Clean):
    name = "no-change"

    def protect(self, x, keys):
        return x


class GradientMasking(Clean):
    """No more than a tenth of the range, whatever the budget."""

    name = "gradient-masking"

    def protect(self, x, keys):
        noise = uniform(keys, x.shape[1:], "masked").sub(0.5).sign()
        return (x + min(0.1, self.epsilon) * noise).clamp(-1, 1)


class Saturation(Clean):
    name = "saturation"

    def protect(self, x, keys):
        return torch.where(x.abs() > 1 - self.epsilon, x.sign(), x + 0.5 * self.epsilon * x.sign()).clamp(-1, 1)


class Brightening(Clean):
    name = "brightening"

    def protect(self, x, keys):
        return (x + self.epsilon).clamp(-1, 1)


class FailsOnePicture(Clean):
    """The grid's second face, against one manipulator."""

    name = "grid"

    def protect(self, x, keys):
        if self.manipulator.name == "simswap":
            raise RuntimeError("not against this one")
        return super().protect(x, keys)
