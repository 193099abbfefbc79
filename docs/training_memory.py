"""Measures what training ars on the paper track keeps in memory: ``python docs/training_memory.py [MANIPULATOR...]``.

Counted, not read off a device: bytes of the tensors that autograd keeps between the forward and the backward pass of
one face, in bfloat16 as in training, against a full-size manipulator with random weights. With checkpointing these are
what goes into the blocks, what lies between them, and the insides of the largest block while it is computed again.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from arsbench import registry
from arsbench.contracts import Manipulator
from arsbench.protectors.checkpointing import blocks
from arsbench.running.loading import make_manipulator

SIZE = 256
GIB = 2**30
OUTSIDE = -1


def kept(model: Manipulator) -> tuple[int, int]:
    """Bytes kept for the way back of one face: of all, and with checkpointing; parameters are not counted."""
    networks = [value for value in vars(model).values() if isinstance(value, nn.Module)]
    known = {p.untyped_storage().data_ptr() for network in networks for p in network.state_dict().values()}
    alive: list[Tensor] = []
    inside: Counter[int] = Counter()
    at = [OUTSIDE]

    def keep(tensor: Tensor, where: int | None = None) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            alive.append(tensor)
            inside[at[-1] if where is None else where] += storage.nbytes()
        return tensor

    def enter(number: int, inputs: tuple[Any, ...]) -> None:
        for value in inputs:
            if isinstance(value, Tensor):
                keep(value, OUTSIDE)
        at.append(number)

    def leave(block: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        at.pop()

    for number, block in enumerate(block for network in networks for block in blocks(network)):
        block.register_forward_pre_hook(lambda module, inputs, number=number: enter(number, inputs))
        block.register_forward_hook(leave)
    x = torch.zeros(1, 3, SIZE, SIZE, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        model.manipulate(x, ["a face"])
    largest = max((size for number, size in inside.items() if number != OUTSIDE), default=0)
    return sum(inside.values()), inside[OUTSIDE] + largest


def main(names: list[str]) -> None:
    """One line of a table per manipulator."""
    print("| manipulator | parameters, GiB | kept per face, GiB | with checkpointing, GiB |\n|---|---|---|---|")
    for name in names:
        options: dict[str, Any] = {"track": "paper", "device": torch.device("cpu"), "random_weights": True}
        model = make_manipulator(registry.find("manipulator", name), **options)
        networks = [value for value in vars(model).values() if isinstance(value, nn.Module)]
        size = sum(p.numel() * p.element_size() for network in networks for p in network.parameters())
        every, few = kept(model)
        print(f"| `{name}` | {size / GIB:.2f} | {every / GIB:.2f} | {few / GIB:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or registry.names("manipulator"))
