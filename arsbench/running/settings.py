"""What the caller of a run may choose: the one place where the command line and Python take their defaults from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds to import, and the command line reads its defaults from here
    from arsbench.registry import Names

WEIGHTS = ("own", "random")
PRECISIONS = ("float32", "bfloat16")
ENGINES = ("local", "ray")
HUNG_AFTER = 3600.0
"""Seconds without a row; a row of the slowest protector takes minutes."""
IMAGES = 100
"""Shipped faces, where neither their number nor a folder is given."""


@dataclass(frozen=True)
class Settings:
    """What to run; :func:`arsbench.run` says what each setting means."""

    protector: Names = "ars"
    manipulator: Names = "all"
    perturbation: Names = "all"
    level: str | int | Sequence[int] = "all"
    images: int | None = None
    track: str = "open"
    epsilon: float | str | Sequence[float] = 0.3
    seed: int = 0
    device: str = "auto"
    out: str | Path | None = None
    faces: str | Path | None = None
    skip_bad: bool = False
    batch: int | None = None
    cache: bool = True
    identity: bool = False
    weights: str = "own"
    precision: str = "float32"
    trained_on: Names | None = None
    engine: str = "local"
    workers: int = 1
    address: str | None = None
    hung_after: float = HUNG_AFTER


DEFAULTS = Settings()
