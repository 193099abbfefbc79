"""Less memory on the way back, the same gradient."""

from __future__ import annotations

import pytest
import torch

import arsbench
from arsbench.protectors.checkpointing import checkpoint_blocks


def kept_and_gradient(model):
    """Bytes that the forward pass keeps for the backward pass, and the gradient at a face."""
    x, keys = arsbench.load_faces(n=1)
    x.requires_grad_()
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = model.manipulate(x, keys)
    y.square().sum().backward()
    return sum(kept.values()), x.grad


@pytest.mark.parametrize("name", ["psp-mix", "simswap", "styleclip"])
def test_blocks_keep_less_and_the_gradient_is_the_same(name):
    model = arsbench.load_manipulator(name)
    before, expected = kept_and_gradient(model)
    assert checkpoint_blocks(model) >= 4
    after, gradient = kept_and_gradient(model)
    assert after < 0.8 * before
    torch.testing.assert_close(gradient, expected)


def test_without_gradients_nothing_changes():
    model = arsbench.load_manipulator("psp-recon")
    x, keys = arsbench.load_faces(n=1)
    with torch.no_grad():
        expected = model.manipulate(x, keys)
        checkpoint_blocks(model)
        assert torch.equal(model.manipulate(x, keys), expected)
