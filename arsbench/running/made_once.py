"""Protected pictures of a transfer run: made against one manipulator once, and met by every manipulator."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from arsbench.running.bench import Protected
from arsbench.running.plan import content_key
from arsbench.running.references import ReferenceCache

Maker = tuple[str, float | None, str]
"""A protector, its epsilon, and the manipulator that it is made against."""


class MadeOnce:
    """Holds a run's protected pictures in a temporary folder, and their columns in memory, as long as it lives."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="arsbench-transfer-")
        self._pictures = ReferenceCache(Path(self._folder.name))
        self._columns: dict[tuple[str, str], dict[str, float]] = {}

    def get(self, maker: Maker, keys: Sequence[str], x: Tensor, make: Callable[[], Protected]) -> Protected:
        """What ``maker`` made of the images ``keys``, or makes of them now; ``x`` are the faces, for the shape."""
        cell = content_key(maker=list(maker))
        columns = [self._columns.get((cell, key)) for key in keys]
        faces = None if None in columns else self._pictures.load(cell, keys, x.shape[1:])
        if faces is not None:
            there = [one for one in columns if one is not None]
            return Protected(faces.to(x), {name: [one[name] for one in there] for name in there[0]})
        made = make()
        self._pictures.save(cell, keys, made.faces)
        for i, key in enumerate(keys):
            self._columns[cell, key] = {name: values[i] for name, values in made.columns.items()}
        return made
