"""Protecting the images of a batch: in groups of a fixed size, each image's result bitwise its own.

The last bits of a convolution depend on how many pictures it is given, and ten signed steps make a visible difference
of them. So a protector is given one picture at a time on a CPU, where each core has one of its own, and groups of one
size on a GPU, the last of them filled up: whatever the batch, the order or an interruption, it computes the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from arsbench.contracts import Protector
from arsbench.draws import draw
from arsbench.faces.delivery import audit
from arsbench.process_state import thread_undisturbed
from arsbench.running import side_by_side
from arsbench.running.bench import Bench, Part, Protected, ProtectedPart, put_model_back, watched
from arsbench.running.guard import about_settings
from arsbench.running.plan import Protection
from arsbench.scoring.columns import IMPERCEPTIBILITY

GROUP_PIXELS = {"cpu": 1, "cuda": 32 * 64 * 64}
"""By kind of device: pixels of a group, which has at least one picture. On a GPU 32 of 64 x 64 or 2 of 256 x 256, which
small cards have the memory for: a size that depended on the card would give other rows on another."""


def group_size(device: torch.device | str, size: int) -> int:
    """Pictures ``[3, size, size]`` that a protector is given at a time on that kind of device."""
    return max(1, GROUP_PIXELS.get(torch.device(device).type, 1) // size**2)


def groups_of(x: Tensor, keys: Sequence[str], size: int) -> list[Part]:
    """The pictures and keys in groups of exactly ``size``; the last is filled up with its last picture."""
    lacking = -len(keys) % size
    x = torch.cat([x, x[-1:].expand(lacking, -1, -1, -1)]) if lacking else x
    keys = [*keys, *[keys[-1]] * lacking]
    return [(x[start : start + size], keys[start : start + size]) for start in range(0, len(keys), size)]


def goes_side_by_side(protector: Protector, x: Tensor) -> bool:
    """Whether the pictures may be protected in several threads, and are small enough to gain by it."""
    return side_by_side.may_go(x, protector, protector.manipulator)


def protect(bench: Bench, protection: Protection, x: Tensor, keys: Sequence[str]) -> Protected:
    """x ``[B, 3, H, W]`` -> x_p, delivered and audited, with the seconds per image that the protector took.

    Side by side, where each image has a core of its own, they are that core's seconds; else those on the wall.
    """
    protector = bench.protectors[protection]
    if protector.ceiling:
        return Protected(
            x, dict.fromkeys((*(column.name for column in IMPERCEPTIBILITY), "seconds"), [math.nan] * len(keys))
        )
    parts = groups_of(x, keys, _size(protector, x))
    made = _protect_side_by_side(bench, protection, parts) if goes_side_by_side(protector, x) else None
    faces, times = zip(*(made or _protect_in_turn(bench, protection, parts)), strict=True)
    x_p = torch.cat(faces)[: len(x)]
    seconds: list[float] = [value for part in times for value in part][: len(x)]
    measured = {column: values.tolist() for column, values in bench.scorer.imperceptibility(x, x_p).items()}
    return Protected(x_p, {**measured, "seconds": seconds})


def _protect_side_by_side(bench: Bench, protection: Protection, parts: Sequence[Part]) -> list[ProtectedPart] | None:
    """Each part in a thread; ``None`` where the method disturbed what the threads share."""

    def protect_part(part: Part) -> ProtectedPart:
        with thread_undisturbed() as found:
            made = _protect_part(bench, protection, *part, clock=time.thread_time)
        bench.note(about_settings(f"protector '{protection.protector}'", found))
        return made

    with watched(
        bench, f"protector '{protection.protector}'", bench.manipulator.device, parts[0], thorough=True
    ) as disturbed:
        made = side_by_side.each(protect_part, parts)
    return None if disturbed else made


def _protect_in_turn(bench: Bench, protection: Protection, parts: Sequence[Part]) -> list[ProtectedPart]:
    """One part after the other."""
    who, device, seed = (
        f"protector '{protection.protector}'",
        bench.manipulator.device,
        bench.protectors[protection].seed,
    )
    for thorough in (False, True):
        made = []
        for part in parts:
            # One that draws from a global generator, though it should not, still gets draws that are the image's.
            seeds = draw(part[1][0], f"protect {protection.protector}", seed)
            with watched(bench, who, device, part, seeds, thorough):
                made.append(_protect_part(bench, protection, *part, clock=time.perf_counter))
        if thorough or not put_model_back(bench, who, True, parts[0]) or len(parts) == 1:
            break
        # What was written past the tensors' versions, the images after it have seen: once more, with every look.
    return made


def _protect_part(
    bench: Bench, protection: Protection, x: Tensor, keys: Sequence[str], clock: Callable[[], float]
) -> ProtectedPart:
    """x ``[B, 3, H, W]`` -> x_p, delivered and audited, and the seconds per image by the clock."""
    with torch.enable_grad():
        _synchronize(x.device)
        began = clock()
        x_p = bench.protectors[protection].protect(x.clone(), keys)
        _synchronize(x.device)
        seconds = [(clock() - began) / len(x)] * len(x)
    budget = bench.plan.epsilons[0] if protection.epsilon is None else protection.epsilon
    return audit(x, x_p, budget, protection.protector, keys), seconds


def _size(protector: Protector, x: Tensor) -> int:
    """Of a group. One that says ``batch_invariant`` promises bitwise the same in any batch, and gets all at once."""
    return len(x) if getattr(protector, "batch_invariant", False) else group_size(x.device, x.shape[-1])


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
