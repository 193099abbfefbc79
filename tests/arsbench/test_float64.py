"""Copies in float64: what is promised is copied, what is not is left alone."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import nn

from arsbench.contracts import Manipulator
from arsbench.float64 import has_float64, manipulator_in_float64, network_in_float64


class Layered(Manipulator):
    """A network, a tensor of numbers and one of indices."""

    name = "layered"
    float64: ClassVar[bool] = True

    def set_up(self):
        self.network = nn.Conv2d(3, 3, 1)
        self.shift = torch.ones(1)
        self.order = torch.arange(3)

    def manipulate(self, x, keys):
        return self.network(x)[:, self.order] + self.shift


class Silent(Layered):
    """Makes no promise of its own."""

    name = "silent"


def test_networks_and_floating_tensors_are_copied_in_float64():
    narrow = Layered()
    wide = manipulator_in_float64(narrow)
    assert wide.manipulate(torch.zeros(1, 3, 2, 2, dtype=torch.float64), ["k"]).dtype == torch.float64
    assert wide.order.dtype == torch.int64


def test_the_manipulator_copied_from_stays_as_it_is():
    narrow = Layered()
    before = {name: value.clone() for name, value in narrow.network.state_dict().items()}
    manipulator_in_float64(narrow).network.weight.data.zero_()
    assert narrow.manipulate(torch.zeros(1, 3, 2, 2), ["k"]).dtype == torch.float32
    assert all(torch.equal(before[name], value) for name, value in narrow.network.state_dict().items())


def test_a_subclass_makes_the_promise_anew():
    silent = Silent()
    assert not has_float64(silent)
    assert manipulator_in_float64(silent) is silent


def test_a_network_keeps_its_values_and_its_memory_format():
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    wide = network_in_float64(network)
    assert torch.equal(wide.weight.float(), network.weight)
    assert wide.weight.is_contiguous(memory_format=torch.channels_last)


class Tied(nn.Module):
    """Layers under two names, statistics, and a weight that two layers share."""

    def __init__(self):
        super().__init__()
        self.first = self.again = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.second = nn.Linear(2, 2)
        self.second.weight = self.first[0].weight

    def forward(self, x):
        return self.second(self.again(self.first(x)))


def test_a_network_is_copied_as_deepcopy_does():
    network = Tied().eval()
    network.first[1].running_mean.fill_(0.5)
    wide, deep = network_in_float64(network), copy.deepcopy(network).double()
    x = torch.ones(1, 2, dtype=torch.float64)
    assert torch.equal(wide(x), deep(x))
    assert wide.first is wide.again
    assert wide.second.weight is wide.first[0].weight
    assert wide.first[1].num_batches_tracked.dtype == torch.int64
    assert list(wide.state_dict()) == list(deep.state_dict())


def test_nothing_done_to_the_copy_reaches_the_network():
    network = Tied().eval()
    wide = network_in_float64(network).train()
    wide.second.register_forward_hook(lambda *given: torch.zeros(1))
    wide.first[1].running_mean.fill_(7)
    wide.second = nn.Identity()
    wide.first.append(nn.Identity())
    assert not any(part.training or part._forward_hooks for part in network.modules())
    assert network.first[1].running_mean.eq(0).all()
    assert isinstance(network.second, nn.Linear)
    assert len(network.first) == 2
