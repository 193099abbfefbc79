"""How many images a manipulator is given at a time, where the user does not say: what the device's memory holds."""

from __future__ import annotations

from collections.abc import Callable

import torch

from arsbench.contracts import Manipulator

CPU_PIXELS = 64 * 64 * 64
"""Pixels at a time on a CPU: 50 small pictures gain over 32, and a stopped run loses the more, the more they are."""
MEMORY_SHARE = 0.5
"""Of a GPU's free memory, for a manipulator's pass; protectors that need gradients take from the rest."""
LARGEST = 256
PROBES = (2, 4)
"""Images of the two passes whose peak memory is compared."""


def batch_size(model: Manipulator, size: int) -> int:
    """Images ``[3, size, size]`` at a time, a power of two from 1 to ``LARGEST``."""
    if model.device.type != "cuda":
        return fitting(CPU_PIXELS, size * size)
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info(model.device)[0]
    try:
        per_image = bytes_per_image(lambda n: _peak(model, size, n))
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return 1
    except Exception:  # a stranger's model that fails: the run itself will say of what
        return fitting(CPU_PIXELS, size * size)
    return fitting(int(MEMORY_SHARE * free), per_image)


def fitting(room: int, each: int) -> int:
    """The largest power of two, at most ``LARGEST``, that has room; 1 where none has."""
    return int(2 ** (min(LARGEST, max(1, room // max(1, each))).bit_length() - 1))


def bytes_per_image(peak: Callable[[int], int]) -> int:
    """What one image more adds to the peak memory of a pass; ``peak`` gives it for a number of images."""
    few, more = PROBES
    return max(1, (peak(more) - peak(few)) // (more - few))


@torch.no_grad()
def _peak(model: Manipulator, size: int, n: int) -> int:
    torch.cuda.reset_peak_memory_stats(model.device)
    model.manipulate(torch.zeros(n, 3, size, size, device=model.device), [f"probe {i}" for i in range(n)])
    torch.cuda.synchronize(model.device)
    return torch.cuda.max_memory_allocated(model.device)
