"""Small work side by side: a thread per core, in each of which torch computes alone.

Small pictures are too little work for cores to share, so each core gets a picture, or a severity, of its own. What
comes out does not depend on how many there are: every thread computes as on a machine with one core.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

LARGEST = 128 * 128
"""Pixels of a picture above which torch keeps the cores busy by itself, and memory for several at once is dear."""
MOST_THREADS = 8
"""More would wait for Python's lock."""

Item = TypeVar("Item")
Made = TypeVar("Made")


def threads() -> int:
    """How many are at work."""
    return min(torch.get_num_threads(), MOST_THREADS)


def may_go(x: Tensor, *methods: object) -> bool:
    """Whether work on these pictures may go on in several threads, and gains by it.

    Args:
        x: ``[..., H, W]``.
        methods: that the threads share; a class promises ``thread_safe`` for itself, not for its subclasses.
    """
    safe = all(vars(type(method)).get("thread_safe", False) for method in methods)
    return safe and x.device.type == "cpu" and x.shape[-2] * x.shape[-1] <= LARGEST


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(
        threads(),
        thread_name_prefix="side by side",
        initializer=torch.set_num_threads,  # of this thread alone
        initargs=(1,),
    )


def each(function: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """``function`` of every item, in their order.

    Raises:
        Exception: what ``function`` raised for the first item that failed; those not begun by then are not computed.
    """
    futures = [_threads().submit(function, item) for item in items]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
