"""Protecting faces as a run does it, where there is no run: image by image, in threads where the method allows it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from arsbench.contracts import Protector
from arsbench.draws import draw
from arsbench.faces.delivery import audit, to_bytes
from arsbench.process_state import thread_undisturbed, undisturbed
from arsbench.running import side_by_side
from arsbench.running.protect import goes_side_by_side


def delivered(protector: Protector, name: str, epsilon: float, seed: int, faces: Tensor, keys: Sequence[str]) -> Tensor:
    """faces ``[B, 3, H, W]`` -> x_p as delivered and audited, uint8 ``[B, H, W, 3]``; whatever B, each the same.

    Args:
        protector: a stranger's; what it says of itself is not asked for the next three.
        name: of the method.
        epsilon: the budget.
        seed: of the draws.
        faces: in [-1, 1].
        keys: of the images.

    Raises:
        ArsbenchError: a picture is no picture, or over the budget.
    """

    def protected(index: int) -> Tensor:
        x, key = faces[index : index + 1], [keys[index]]
        with torch.enable_grad():
            return to_bytes(audit(x, protector.protect(x.clone(), key), epsilon, name, key))

    def in_a_thread(index: int) -> Tensor:
        with thread_undisturbed():
            return protected(index)

    def in_turn(index: int) -> Tensor:
        # One that draws from a global generator, though it should not, still gets draws that are the image's.
        with undisturbed(draw(keys[index], f"protect {name}", seed)):
            return protected(index)

    images = range(len(keys))
    if goes_side_by_side(protector, faces):
        torch.set_num_threads(_cores())
        with undisturbed() as disturbed:
            made = side_by_side.each(in_a_thread, images)
        torch.set_num_threads(1)
        if not disturbed:
            return torch.cat(made)
    return torch.cat([in_turn(index) for index in images])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
