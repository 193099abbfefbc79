"""The card beside a weights file: what it says, and whether the file is the card's."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path


def weights_file(named: str | Path) -> Path:
    """The path of a weights file: what is given, or the file of ``PACKAGE:FILE``."""
    package, colon, file = str(named).partition(":")
    if isinstance(named, Path) or not colon:
        return Path(named)
    with contextlib.suppress(ImportError):  # of a package above it that is not there
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / file
    return Path(named)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


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
    if file_sha256(data) != digest:
        sentence = "damaged: its SHA-256 differs from its card; install arsbench again"
        return Card(path.stem, digest, licence, sentence, False)
    return Card(path.stem, digest, licence, f"{data.stat().st_size / 1e6:.1f} MB, SHA-256 as on its card")
