"""Methods that disturb the process or each other, each in one way; loaded as ``disturbing.py:Class``."""

from __future__ import annotations

import os
import random
import signal
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from arsbench.contracts import Manipulator, Perturbation, Protector


class Statistics(Manipulator):
    """Has a network with modes and statistics, in evaluation mode."""

    name = "statistics"
    thread_safe: ClassVar[bool] = True

    def set_up(self):
        self.net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval().requires_grad_(False)
        nn.init.eye_(self.net[0].weight[:, :, 0, 0])
        nn.init.zeros_(self.net[0].bias)

    def manipulate(self, x, keys):
        return 0.4 * self.net(x)


class InTraining(Statistics):
    """Changes its own statistics at every call."""

    name = "in-training"

    def set_up(self):
        super().set_up()
        self.net.train()


class Quarter(Manipulator):
    """Reads a file that no hash knows."""

    name = "quarter"
    path: ClassVar[str] = ""

    def manipulate(self, x, keys):
        with open(self.path) as file:  # noqa: PTH123
            return float(file.read()) * x


class Same(Protector):
    """Its picture is the face; each subclass does something else besides."""

    name = "same"

    def protect(self, x, keys):
        self.besides(x, keys)
        return x

    def besides(self, x, keys):
        pass


class TrainingModeLeftOn(Same):
    name = "training-mode-left-on"

    def besides(self, x, keys):
        self.manipulator.net.train()
        self.manipulator.manipulate(x, keys)


class WritesThroughData(Protector):
    """Moves the weights where no version counts it, and depends on what it finds."""

    name = "writes-through-data"

    def protect(self, x, keys):
        weight = self.manipulator.net[0].weight
        step = float(weight[0, 0, 0, 0].clamp(1, 1.1)) - 1
        weight.data.add_(0.05)
        return (x + step).clamp(-1, 1)


class ThreadedDtype(Protector):
    """Promises too much: disturbs what all threads share."""

    name = "threaded-dtype"
    thread_safe: ClassVar[bool] = True

    def protect(self, x, keys):
        torch.set_default_dtype(torch.float64)
        return (x + self.epsilon * float(np.random.rand())).clamp(-1, 1)  # noqa: NPY002


class Exits(Same):
    name = "exits"

    def besides(self, x, keys):
        raise SystemExit(0)


class HardExit(Same):
    name = "hard-exit"

    def besides(self, x, keys):
        os._exit(0)


class OwnBaseException(Same):
    name = "own-base-exception"

    def besides(self, x, keys):
        raise type("Odd", (BaseException,), {})("of its own")


class Terminates(Same):
    """Ends as a machine that is shut down does, at the third face."""

    name = "terminates"

    def besides(self, x, keys):
        if keys[0].endswith("12002"):
            os.kill(os.getpid(), signal.SIGTERM)


class ExitsWhenMade(Same):
    name = "exits-when-made"

    def __init__(self, manipulator, epsilon=0.3, seed=0):
        raise SystemExit("no licence")


class PythonDraws(Protector):
    name = "python-draws"

    def protect(self, x, keys):
        return (x + self.epsilon * random.uniform(-1, 1)).clamp(-1, 1)


class NumpyDraws(Protector):
    name = "numpy-draws"

    def protect(self, x, keys):
        return (x + self.epsilon * float(np.random.uniform(-1, 1))).clamp(-1, 1)  # noqa: NPY002


class NewWeights(Protector):
    """Draws weights when it is made."""

    name = "new-weights"

    def __init__(self, manipulator, epsilon=0.3, seed=0):
        super().__init__(manipulator, epsilon, seed)
        self.shift = float(torch.rand(1)) + random.random() - 1

    def protect(self, x, keys):
        return (x + self.epsilon * self.shift).clamp(-1, 1)


class DrawingNoise(Perturbation):
    name = "drawing-noise"
    levels = (0.1, 0.2, 0.3, 0.4, 0.5)

    def perturb(self, x, parameter, keys):
        return x + parameter * (torch.rand_like(x) + float(np.random.rand()) - random.random())  # noqa: NPY002


class ThreadedDrawingNoise(DrawingNoise):
    """Promises what it does not keep."""

    name = "threaded-drawing-noise"
    thread_safe = True


class DtypeWhenMade(DrawingNoise):
    name = "dtype-when-made"
    weights_sha256 = "c" * 64

    def __init__(self):
        torch.set_default_dtype(torch.float64)


class UnitRange(Perturbation):
    """Returns pictures of [0, 1]."""

    name = "unit-range"
    levels = (1, 2, 3, 4, 5)

    def perturb(self, x, parameter, keys):
        return (x + 1) / 2
