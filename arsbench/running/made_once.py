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
        self._columns: dict[str, dict[str, float]] = {}

    def get(self, maker: Maker, keys: Sequence[str], x: Tensor, make: Callable[[], Protected]) -> Protected:
        """What ``maker`` made of the images ``keys``, or makes of them now; ``x`` are the faces, for the shape."""
        names = [content_key(maker=list(maker), image=key) for key in keys]
        faces = self._pictures.load(names, x.shape[1:]) if all(name in self._columns for name in names) else None
        if faces is not None:
            columns = self._columns[names[0]]
            return Protected(
                faces.to(x), {column: [self._columns[name][column] for name in names] for column in columns}
            )
        made = make()
        self._pictures.save(names, made.faces)
        for i, name in enumerate(names):
            self._columns[name] = {column: values[i] for column, values in made.columns.items()}
        return made
