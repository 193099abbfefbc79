"""Which channels of a layer to keep when a network is made narrower: those that do most.

What a channel does is its mean square activation times the squared weights that read it. The network that remains is
then trained to do what the wide one did (Hinton et al. 2015); see psp_narrowing.py and simswap_narrowing.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.contracts import ArsbenchError

Part = tuple[str, int]
"""A tensor's name and the axis along which its channels lie."""


@torch.no_grad()
def mean_squares(layers: Mapping[str, nn.Module], run: Callable[[], object]) -> dict[str, Tensor]:
    """By layer, the mean square of each channel of its output ``[B, C, H, W]`` while ``run`` runs, ``[C]``."""
    found: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, given: Any, made: Tensor) -> None:
            found[name] = made.square().mean((0, 2, 3))

        return hook

    handles = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    run()
    for handle in handles:
        handle.remove()
    return found


def busiest(squares: Tensor, readers: Iterable[tuple[Tensor, int]], n: int) -> Tensor:
    """The ``n`` channels that do most, in order.

    Args:
        squares: mean square activations ``[C]``.
        readers: the weights that read the channels, each with the axis along which they lie.
        n: at most C.

    Raises:
        ArsbenchError: there are fewer than ``n`` channels.
    """
    if n > len(squares):
        raise ArsbenchError(
            f"the weights to start from have a layer of {len(squares)} channels where {n} are needed; "
            "start from wider ones"
        )
    outgoing = sum(weight.square().transpose(0, axis).flatten(1).sum(1) for weight, axis in readers)
    return (squares * outgoing).topk(n).indices.sort().values


def keep(tensors: dict[str, Tensor], parts: Iterable[Part], kept: Tensor) -> None:
    """Leaves only the channels ``kept`` in the named tensors, in place of the mapping's."""
    for name, axis in parts:
        tensors[name] = tensors[name].index_select(axis, kept)
