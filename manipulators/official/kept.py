"""The checkpoints that were added: where they lie, what their cards say, whether the files are the cards'."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arsbench.cards import file_sha256
from arsbench.folders import cache_home, find_cache_home


@dataclass(frozen=True)
class Kept:
    """One checkpoint that was added.

    Attributes:
        name: ``psp``, ``styleclip-angry``, ...
        path: of the safetensors file.
        card: what is known of it.
    """

    name: str
    path: Path
    card: dict[str, Any]


def checkpoints_folder() -> Path:
    """``checkpoints`` in :func:`arsbench.folders.cache_home`."""
    return cache_home() / "checkpoints"


def kept() -> list[Kept]:
    """Every checkpoint that was added, by name."""
    found: list[Kept] = []
    if find_cache_home() is None:
        return found
    for path in sorted(checkpoints_folder().glob("*.json")):
        try:
            card = json.loads(path.read_text())
        except ValueError:
            card = {}
        found.append(Kept(path.stem, path.with_suffix(".safetensors"), card if isinstance(card, dict) else {}))
    return found


def verify(checkpoint: Kept) -> str | None:
    """What is wrong with a kept file, in one sentence, or ``None``; hashes it whole."""
    again = "; add the checkpoint again"
    if not checkpoint.card.get("sha256"):
        return f"its card {checkpoint.path.with_suffix('.json')} cannot be read{again}"
    if not checkpoint.path.is_file():
        return f"its file {checkpoint.path} is missing{again}"
    if file_sha256(checkpoint.path) != checkpoint.card["sha256"]:
        return f"its file {checkpoint.path} is damaged: its SHA-256 differs from its card's{again}"
    return None
