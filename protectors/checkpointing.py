"""Gradient checkpointing of a frozen model: activations are computed again on the way back instead of being kept.

After Chen et al. 2016 (Training deep nets with sublinear memory cost): what lies inside a block is forgotten, what goes
from block to block is kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(owner: object) -> int:
    """Lets the blocks of every network that is an attribute of ``owner`` keep nothing; returns how many there are."""
    networks = [value for value in vars(owner).values() if isinstance(value, nn.Module)]
    found = [block for network in networks for block in blocks(network)]
    for block in found:
        block.forward = _forgetful(block.forward)
    return len(found)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The outermost members of lists and sequences that are made of several layers themselves."""
    for child in network.children():
        if isinstance(network, nn.ModuleList | nn.Sequential) and len(list(child.modules())) > 1:
            yield child
        else:
            yield from blocks(child)


def _forgetful(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def computed_again(*inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **named)
        return checkpoint(forward, *inputs, use_reentrant=False, **named)

    return computed_again
