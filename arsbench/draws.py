"""Everything random, from keys: a number never depends on batch size, order, workers or resuming."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

PROTOCOL_NAME = "arsbench-1"
"""Enters every random draw: a new protocol version draws anew."""
CPU = torch.device("cpu")


def draw(key: str, purpose: str, seed: int = 0) -> int:
    """A 63-bit number that depends on the protocol, the image's key, what it is for and the seed alone."""
    text = "\0".join((PROTOCOL_NAME, purpose, str(seed), key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(key: str, purpose: str, seed: int = 0) -> torch.Generator:
    """A CPU generator seeded by :func:`draw`."""
    return torch.Generator().manual_seed(draw(key, purpose, seed))


def uniform(keys: Sequence[str], shape: Sequence[int], purpose: str, seed: int = 0) -> Tensor:
    """Independent uniform [0, 1) numbers ``[B, *shape]``, one draw per key."""
    return torch.stack([torch.rand(*shape, generator=generator(key, purpose, seed)) for key in keys])


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Code that draws from the global generator draws by ``seed`` in here, and the generator is put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
