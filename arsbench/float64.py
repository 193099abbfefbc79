"""Computing in float64 what must be the same on every processor.

The sign of a gradient next to nothing is rounding, and processors round float32 sums differently: an attack that
follows such signs ends in another picture on another machine. In float64 that rounding is far below what decides a
sign.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from arsbench.contracts import Manipulator

AnyManipulator = TypeVar("AnyManipulator", bound=Manipulator)
Network = TypeVar("Network", bound=nn.Module)


def has_float64(manipulator: Manipulator) -> bool:
    """Whether the class itself promises ``float64``; a subclass makes the promise anew."""
    return bool(vars(type(manipulator)).get("float64", False))


def network_in_float64(network: Network) -> Network:
    """A copy of ``network`` in float64."""
    return copy.deepcopy(network).double()


def manipulator_in_float64(manipulator: AnyManipulator) -> AnyManipulator:
    """A copy that takes and gives float64, where that is promised; else ``manipulator`` itself."""
    if not has_float64(manipulator):
        return manipulator
    wide = copy.copy(manipulator)
    for name, value in vars(manipulator).items():
        if isinstance(value, nn.Module):
            setattr(wide, name, network_in_float64(value))
        elif isinstance(value, Tensor) and torch.is_floating_point(value):
            setattr(wide, name, value.double())
    return wide
