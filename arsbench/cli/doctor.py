"""What works on this machine and what is missing, in one screen."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from arsbench.cards import read_card
from arsbench.running.references import default_folder

WEIGHT_FOLDERS = (
    ("arsbench", "shipped"),
    ("arsbench.face_networks", "weights"),
    ("arsbench.manipulators", "weights"),
    ("arsbench.protectors", "weights"),
)
"""Package and folder of everything shipped that has a card with its SHA-256."""


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and whether that is well."""

    name: str
    found: str
    well: bool = True


def checks() -> Iterator[Check]:
    """Looks at versions, torchvision, shipped files, the device and the cache folder, in this order."""
    yield Check("python", platform.python_version())
    yield from _versions()
    yield _codec()
    yield _torchvision()
    yield from _shipped()
    yield _device()
    yield _cache()


def _versions() -> Iterator[Check]:
    from arsbench.running.provenance import PACKAGES, version_of

    for package in PACKAGES:
        version = version_of(package)
        yield Check(package, version or "not installed", version is not None)


def _codec() -> Check:
    from arsbench.running.provenance import jpeg_library

    library = jpeg_library()
    return Check("JPEG library", library or "Pillow was built without one", library is not None)


def _torchvision() -> Check:
    from arsbench.scoring.torchvision_cure import cure

    try:
        cured = cure()
    except Exception as error:
        return Check("torchvision import", f"fails: {str(error).splitlines()[0]}", False)
    return Check("torchvision import", "was built for another torch; cured for this process" if cured else "works")


def _shipped() -> Iterator[Check]:
    """A line per card, and one for all files of a protector that are well."""
    for package, folder in WEIGHT_FOLDERS:
        cards = [read_card(path) for path in sorted(Path(str(files(package) / folder)).glob("*.json"))]
        for method, group in groupby(cards, key=lambda card: card.name.partition("--")[0]):
            of_method = list(group)
            well = [card for card in of_method if card.well]
            if len(well) == 1:
                yield Check(well[0].name, well[0].found)
            elif well:
                yield Check(method, f"{len(well)} files, SHA-256 as on their cards")
            yield from (Check(card.name, card.found, False) for card in of_method if not card.well)


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("device", f"cuda: {torch.cuda.get_device_name()}")
    return Check("device", f"cpu, {torch.get_num_threads()} threads (no CUDA device)")


def _cache() -> Check:
    folder = default_folder()
    if folder is None:
        return Check("cache of references", "this account has no home folder; set XDG_CACHE_HOME", False)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    size = 0
    for path in folder.rglob("*.*"):
        with contextlib.suppress(OSError):  # another process may tidy up meanwhile
            size += path.stat().st_size
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("cache of references", f"{folder} cannot be written; runs go without it", False)
    return Check("cache of references", f"{folder}, {size / 1e6:.0f} MB")
