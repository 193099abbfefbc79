"""The cards of weights: what stands beside a file, and whether the file is what its card says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Card:
    """One weights file as its card describes it and as it is found.

    Attributes:
        name: of the file, without its ending.
        sha256: on the card; empty where it cannot be read.
        licence: on the card.
        found: what was found, in one sentence.
        well: whether the file is there and is the card's.
    """

    name: str
    sha256: str
    licence: str
    found: str
    well: bool = True


def read_card(path: Path) -> Card:
    """Reads the card ``path`` (``.json``) and hashes the file beside it."""
    data = next((file for suffix in (".safetensors", ".npz") if (file := path.with_suffix(suffix)).is_file()), None)
    try:
        card = json.loads(path.read_text())
        digest, licence = str(card["sha256"]), str(card.get("licence", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Card(path.stem, "", "", "its card cannot be read; install arsbench again", False)
    if data is None:
        return Card(path.stem, digest, licence, "the file of this card is missing; install arsbench again", False)
    if hashlib.sha256(data.read_bytes()).hexdigest() != digest:
        sentence = "damaged: its SHA-256 differs from its card; install arsbench again"
        return Card(path.stem, digest, licence, sentence, False)
    return Card(path.stem, digest, licence, f"{data.stat().st_size / 1e6:.1f} MB, SHA-256 as on its card")
