"""Faces as lossless files, and protected pictures read back exactly: what leaves and what comes back. Without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arsbench.errors import ArsbenchError

LARGEST_FILE = 4_000_000
"""Bytes of a PNG; a picture of 256 x 256 has at most 200 000 without any compression."""

Pixels = NDArray[np.uint8]


def picture_name(key: str) -> str:
    """The file of an image: its key with ``-`` for ``/``, and ``.png``."""
    return f"{key.replace('/', '-')}.png"


def check_names(keys: Iterable[str]) -> None:
    """Raises ArsbenchError where two keys share a file name."""
    seen: dict[str, str] = {}
    for key in keys:
        other = seen.setdefault(picture_name(key), key)
        if other != key:
            raise ArsbenchError(
                f"the images '{other}' and '{key}' would share the file {picture_name(key)}; rename one"
            )


def write_exact(path: Path, pixels: Pixels) -> None:
    """Pixels ``[H, W, 3]`` as a PNG."""
    Image.fromarray(pixels).save(path, format="PNG", optimize=True)


def read_exact(path: Path, size: int) -> Pixels:
    """The pixels ``[size, size, 3]`` of a PNG, as they are: nothing is resized or converted.

    Raises:
        ArsbenchError: no such file, or it is not an 8-bit RGB PNG of that size.
    """
    if not path.is_file():
        raise ArsbenchError(f"the picture {path} is missing; arsbench faces export writes the faces and their names")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ArsbenchError(f"{path} has {path.stat().st_size} bytes; a picture has at most {LARGEST_FILE}")
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode != "RGB" or image.size != (size, size):
                found = f"{image.size[0]} x {image.size[1]} {image.mode}"
                raise ArsbenchError(f"{path} is {found}; give an 8-bit RGB PNG of {size} x {size}")
            return np.asarray(image, dtype=np.uint8)
    except ArsbenchError:
        raise
    except Exception as error:  # a decoder facing a broken file raises anything
        raise ArsbenchError(f"{path} cannot be read as PNG; give an 8-bit RGB PNG of {size} x {size}") from error


def folder_sha256(folder: Path) -> str:
    """Over the names and contents of all PNG files of a folder and its subfolders."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.png")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
