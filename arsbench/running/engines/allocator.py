"""Keeps the C library from handing memory back to the kernel after every layer, only to ask for it again.

On a CPU that took a tenth to a fifth of a run's time in page faults.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt(3)."""
MOST_KEPT = 2**31 - 1
LARGEST_FROM_HEAP = 32 * 2**20
"""Bytes; the most that glibc allows."""
STEP = 64 * 2**20


def keep_freed_memory() -> bool:
    """Lets this process keep what it has freed; for a process that is ours, such as the command line's.

    Returns:
        Whether the C library is one that can be told so (glibc); elsewhere nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST_FROM_HEAP), (M_TRIM_THRESHOLD, MOST_KEPT), (M_TOP_PAD, STEP))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
