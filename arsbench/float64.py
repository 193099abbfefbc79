"""Computing in float64 what must be the same on every processor.

The sign of a gradient next to nothing is rounding, and processors round float32 sums differently: an attack that
follows such signs ends in another picture on another machine. In float64 that rounding is far below what decides a
sign.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from arsbench.contracts import Manipulator

AnyManipulator = TypeVar("AnyManipulator", bound=Manipulator)
Network = TypeVar("Network", bound=nn.Module)


def has_float64(manipulator: Manipulator) -> bool:
    """Whether the class itself promises ``float64``; a subclass makes the promise anew."""
    return bool(vars(type(manipulator)).get("float64", False))


def network_in_float64(network: Network) -> Network:
    """A copy of ``network`` in float64; what is neither module, parameter, buffer nor container is shared with it."""
    return _in_float64(network, {})


def _in_float64(module: Network, made: dict[int, Any]) -> Network:
    # ``copy.deepcopy`` takes ten times as long: it goes through the dozen empty dictionaries of each module.
    if id(module) in made:
        return cast(Network, made[id(module)])
    wide = made[id(module)] = object.__new__(type(module))
    vars(wide).update(
        (name, value.copy() if isinstance(value, dict | list | set) else value) for name, value in vars(module).items()
    )
    for name, parameter in module._parameters.items():
        if parameter is not None and id(parameter) not in made:
            made[id(parameter)] = nn.Parameter(_doubled(parameter.detach()), parameter.requires_grad)
        wide._parameters[name] = None if parameter is None else made[id(parameter)]
    for name, buffer in module._buffers.items():
        if buffer is not None and id(buffer) not in made:
            made[id(buffer)] = _doubled(buffer)
        wide._buffers[name] = None if buffer is None else made[id(buffer)]
    for name, part in module._modules.items():
        wide._modules[name] = None if part is None else _in_float64(part, made)
    return wide


def _doubled(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float64 if torch.is_floating_point(tensor) else tensor.dtype, copy=True)


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
