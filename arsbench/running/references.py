"""The references y = G(deliver(p_l(x)), c), kept on disk by content key and shared by all runs of a user.

A cell - a manipulator under one severity - has a folder, in which a shard holds the pictures of one batch, float32
``[B, 3, H, W]``, and the keys of their images, so that a batch of other images finds them, too. What a manipulator is
given, deliver(p_l(x)), is kept likewise, as pixels ``[B, H, W, 3]`` of 8 bits and for all manipulators. The cache is
only ever a saving of time: what cannot be read is computed again, a folder that cannot be written leaves the run
without one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from arsbench.contracts import Manipulator
from arsbench.folders import find_cache_home

LIMIT = 2 * 1024**3
"""Bytes; above it the shards that were used longest ago go."""

CHECK_EVERY = LIMIT // 8
"""Bytes written between two looks at the size."""


HEADER_LIMIT = 2**24
"""Bytes of a shard's header; a longer one is of a damaged file."""
SHARDS = "*.safetensors"
PICTURES, KEYS = "pictures", "keys"
"""Of a shard: its tensor, and the entry of its metadata that lists the images' keys."""
PATTERNS = (f"??/*/{SHARDS}", "??/*/.*.tmp", "??/*.npy")
"""The shards, what a killed process left half written, and the entries of earlier versions."""


def default_folder() -> Path | None:
    """``references`` in :func:`arsbench.folders.cache_home`; ``None`` where there is no home folder."""
    home = find_cache_home()
    return None if home is None else home / "references"


def may_cache(model: Manipulator) -> bool:
    """Whether ``weights_sha256`` stands for all that the model's output depends on beside its code.

    A subclass of another package or file has not promised what its base has: it may read files of its own.
    """
    if model.weights_sha256 is None:
        return False
    cls = type(model)
    promises = next(
        c for c in cls.__mro__ if {"set_up", "__init__", "weights_sha256", "weights_files"} & vars(c).keys()
    )
    return promises.__module__.split(".")[0] == cls.__module__.split(".")[0]


class ReferenceCache:
    """Pictures by cell and image.

    Args:
        folder: where they lie; ``None`` for no cache.
        writable: False to read what is there and write nothing.
        limit: bytes.
    """

    def __init__(self, folder: Path | None, writable: bool = True, limit: int = LIMIT) -> None:
        self.folder = folder
        self.limit = limit
        self.notes: list[str] = []
        self._writable = writable and folder is not None
        self._written = 0
        self._own: set[Path] = set()

    def load(
        self, cell: str, keys: Sequence[str], shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Tensor | None:
        """The images' pictures ``[B, *shape]``, finite; ``None`` unless every one is there and readable."""
        if self.folder is None:
            return None
        found: dict[str, Tensor] = {}
        for path in self._shards(self.folder, cell, keys):
            try:
                held = _keys(path)
                if (set(keys) - found.keys()).isdisjoint(held):
                    continue
                pictures = load(path.read_bytes())[PICTURES]
                if self._writable:
                    os.utime(path)
            except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, SafetensorError):
                continue
            if not _usable(pictures, (len(held), *shape), dtype):
                continue
            if held == list(keys):
                return pictures
            found |= dict(zip(held, pictures, strict=True))
            if found.keys() >= set(keys):
                return torch.stack([found[key] for key in keys])
        return None

    def save(self, cell: str, keys: Sequence[str], values: Tensor) -> None:
        """Keeps ``values`` [B, ...] under their keys."""
        if not self._writable or self.folder is None:
            return
        path = self._shard(self.folder, cell, keys)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = save({PICTURES: values.detach().cpu().contiguous()}, {KEYS: json.dumps(list(keys))})
            _write(path, content)
        except OSError as error:
            self._writable = False
            self.notes.append(
                f"the cache {self.folder} cannot be written ({error.strerror or error}); going on without it"
            )
            return
        self._own.add(path)
        self._written += len(content)
        if self._written > CHECK_EVERY:
            self.trim()

    def _shards(self, folder: Path, cell: str, keys: Sequence[str]) -> Iterator[Path]:
        """That of the same batch first; then the others, less those that this object wrote for other batches."""
        likely = self._shard(folder, cell, keys)
        yield likely
        with contextlib.suppress(OSError):
            yield from (path for path in sorted(likely.parent.glob(SHARDS)) if path not in self._own | {likely})

    @staticmethod
    def _shard(folder: Path, cell: str, keys: Sequence[str]) -> Path:
        name = hashlib.sha256("\0".join(keys).encode()).hexdigest()[:32]
        return folder / cell[:2] / cell / SHARDS.replace("*", name)

    def trim(self) -> None:
        """Removes the shards used longest ago until the cache keeps its limit."""
        self._written = 0
        if not self._writable or self.folder is None:
            return
        entries = []
        for path in [path for pattern in PATTERNS for path in self.folder.glob(pattern)]:
            with contextlib.suppress(OSError):  # another process may trim at the same time
                facts = path.stat()
                entries.append((facts.st_mtime_ns, facts.st_size, path))
        size = sum(entry[1] for entry in entries)
        for _, bytes_, path in sorted(entries):
            if size <= self.limit:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            size -= bytes_


def _keys(path: Path) -> list[str]:
    """The images of a shard, by its header alone: its length in 8 bytes, then JSON."""
    with path.open("rb") as file:
        header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), HEADER_LIMIT)))
    keys = json.loads(header["__metadata__"][KEYS])
    if not isinstance(keys, list):
        raise TypeError(f"{path} does not list its images")
    return [str(key) for key in keys]


def _usable(pictures: Tensor, shape: Sequence[int], dtype: torch.dtype) -> bool:
    same = pictures.dtype == dtype and pictures.shape == tuple(shape)
    return same and (not dtype.is_floating_point or bool(pictures.sum().isfinite()))


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
