"""The references y = G(deliver(p_l(x)), c), kept on disk by content key and shared by all runs of a user.

An entry is one float32 ``.npy`` file ``[3, H, W]`` per image. The cache is only ever a saving of time: an entry that
cannot be read is computed again, a folder that cannot be written leaves the run without one.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arsbench.contracts import Manipulator
from arsbench.folders import find_cache_home

LIMIT = 2 * 1024**3
"""Bytes; above it the entries that were used longest ago go."""

CHECK_EVERY = LIMIT // 8
"""Bytes written between two looks at the size."""


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
    """Tensors by content key.

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

    def load(self, keys: Sequence[str], shape: Sequence[int]) -> Tensor | None:
        """The entries ``[B, *shape]``, float32, finite; ``None`` unless every one of them is there and readable."""
        arrays = []
        for key in keys:
            array = self._load(key, tuple(shape))
            if array is None:
                return None
            arrays.append(array)
        return torch.from_numpy(np.stack(arrays))

    def _load(self, key: str, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
        if self.folder is None:
            return None
        path = self._path(self.folder, key)
        try:
            array = np.load(path, allow_pickle=False)
            if self._writable:
                os.utime(path)
        except (OSError, ValueError, EOFError):
            return None
        usable = array.dtype == np.float32 and array.shape == shape and bool(np.isfinite(array).all())
        return array if usable else None

    def save(self, keys: Sequence[str], values: Tensor) -> None:
        """Keeps ``values`` [B, ...] under their keys."""
        if not self._writable or self.folder is None:
            return
        arrays = values.detach().to("cpu", torch.float32).contiguous().numpy()
        try:
            for key, array in zip(keys, arrays, strict=True):
                self._save(self._path(self.folder, key), array)
                self._written += array.nbytes
        except OSError as error:
            self._writable = False
            self.notes.append(
                f"the cache {self.folder} cannot be written ({error.strerror or error}); going on without it"
            )
        if self._written > CHECK_EVERY:
            self.trim()

    @staticmethod
    def _save(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.npy"

    def trim(self) -> None:
        """Removes the entries used longest ago until the cache keeps its limit."""
        self._written = 0
        if not self._writable or self.folder is None:
            return
        entries = []
        for path in [*self.folder.glob("??/*.npy"), *self.folder.glob("??/.*.tmp")]:
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
