"""What a protector does to the manipulator is put back, and the protector named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from arsbench.contracts import Manipulator
from arsbench.running.guard import ModelGuard


class Model(Manipulator):
    name = "model"

    def set_up(self):
        torch.manual_seed(0)
        self.parts = [nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval().requires_grad_(False)]
        self.calls = 0

    def manipulate(self, x, keys):
        self.calls += 1
        return self.parts[0](x)


X = torch.linspace(-1, 1, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)


def trains(model):
    model.parts[0].train()
    model.manipulate(X, [])


def learns(model):
    with torch.no_grad():
        model.parts[0][0].weight.add_(1)


def writes_past_the_versions(model):
    model.parts[0][0].weight.data.add_(1)


def opens_gradients(model):
    model.parts[0].requires_grad_(True)


def replaces_the_method(model):
    model.manipulate = lambda x, keys: x


def replaces_a_part(model):
    model.parts = [nn.Identity()]


def hooks(model):
    model.parts[0][0].register_forward_hook(lambda *_: torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (trains, "training mode was left on"),
        (learns, "weights or statistics were written to (parts.0.0.weight)"),
        (opens_gradients, "requires_grad was changed"),
        (replaces_the_method, "manipulate() was replaced"),
        (replaces_a_part, "a part of it was replaced (parts)"),
        (hooks, "hooks were left on"),
    ],
)
def test_each_change_is_seen_at_once_and_put_back(harm, said):
    model = Model()
    guard = ModelGuard(model)
    before = model.manipulate(X, [])
    harm(model)
    assert said in "; ".join(guard.put_back(thorough=False))
    assert torch.equal(model.manipulate(X, []), before)
    assert not model.manipulate(X, []).requires_grad
    assert guard.put_back() == []


def test_what_is_written_past_the_versions_a_thorough_look_finds():
    model = Model()
    guard = ModelGuard(model)
    before = model.manipulate(X, [])
    writes_past_the_versions(model)
    assert "weights or statistics" in guard.put_back()[0]
    assert torch.equal(model.manipulate(X, []), before)


def test_a_model_that_is_only_used_is_left_alone():
    model = Model()
    guard = ModelGuard(model)
    x = X.clone().requires_grad_()
    model.manipulate(x, []).sum().backward()
    assert guard.put_back() == []
    assert model.calls == 1
