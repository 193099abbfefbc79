"""The open track's faces, those of :mod:`arsbench.faces.generator` by seed.

They are split like the paper's data: train 0-9999, validation 10000-11999, test 12000-13999. The first 1000 test faces
and the 16 condition faces are shipped as 8-bit pixels, so that they are the same on every machine; all others are
generated when asked for.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import deliver, to_bytes
from arsbench.faces.generator import FaceGenerator, latents, load_face_generator
from arsbench.faces.sources import FaceSource, Pixels
from arsbench.named_sets import TRACK_SIZES
from arsbench.shipped import FOLDER

OPEN_SIZE = TRACK_SIZES["open"]
SPLITS = {"train": range(0, 10000), "val": range(10000, 12000), "test": range(12000, 14000)}
"""Seeds of each split of the open track."""
SHIPPED_SEEDS = range(12000, 13000)
CONDITION_SEEDS = range(10000, 10016)
FRESH_SEEDS_FROM = 1_000_000
"""Training that needs more faces than the train split has goes on from here, far from validation and test."""


def face_key(seed: int) -> str:
    """The key of the open track's face ``seed``, for example ``open/test/12000``."""
    split = next(name for name, seeds in SPLITS.items() if seed in seeds)
    return f"open/{split}/{seed}"


def encode_pixels(pixels: Pixels) -> Pixels:
    """uint8 ``[N, H, W, 3]`` -> residuals ``[3, N, H, W]`` that compress well, without loss.

    Red and blue as differences to green, then the Lorenzo predictor (left + above - above left), all modulo 256.
    """
    planes = np.moveaxis(pixels, -1, 0).copy()
    planes[[0, 2]] -= planes[1]
    for axis in (2, 3):
        planes = np.diff(planes, axis=axis, prepend=np.uint8(0)).astype(np.uint8)
    return planes


def decode_pixels(residuals: Pixels) -> Pixels:
    """Undoes :func:`encode_pixels`."""
    planes = residuals
    for axis in (2, 3):
        planes = np.cumsum(planes, axis=axis, dtype=np.uint8)
    planes[[0, 2]] += planes[1]
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


@functools.lru_cache(maxsize=1)
def _generator() -> FaceGenerator:
    return load_face_generator()


@torch.no_grad()
def generate_pixels(seed: int) -> Pixels:
    """The face of one seed, ``[64, 64, 3]``; generated alone, so that no other face touches its rounding."""
    pixels: Pixels = to_bytes(_generator()(latents([seed]))[0]).numpy()
    return pixels


def read_shipped(folder: Path) -> dict[str, Pixels]:
    """Reads ``faces_open.npz``: ``test`` ``[1000, 64, 64, 3]`` and ``condition`` ``[16, 64, 64, 3]``, uint8.

    Raises:
        ArsbenchError: the file or its card is missing, or its SHA-256 is not the one on the card.
    """
    path, card = folder / "faces_open.npz", folder / "faces_open.json"
    try:
        data, expected = path.read_bytes(), json.loads(card.read_text())["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise ArsbenchError(f"the shipped faces {path} or their card cannot be read; install arsbench again") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise ArsbenchError(
            f"the shipped faces {path} are damaged: their SHA-256 differs from the card; install arsbench again"
        )
    with np.load(path, allow_pickle=False) as arrays:
        return {name: decode_pixels(arrays[name]) for name in ("test", "condition")}


@functools.lru_cache(maxsize=1)
def _shipped() -> dict[str, Pixels]:
    return read_shipped(FOLDER)


class ShippedFaces(FaceSource):
    """The first ``n`` faces of a split of the open track.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        n: how many: up to 10000, 2000 or 2000.
        size: 64, or a multiple of it, to which the faces are enlarged: for measuring speed at another track's size.

    Raises:
        ArsbenchError: another split, fewer than one face, or more than the split has.
    """

    def __init__(self, split: str = "test", n: int = 100, size: int = OPEN_SIZE) -> None:
        if split not in SPLITS:
            raise ArsbenchError(f"there is no split '{split}' of the faces; the splits are: {', '.join(SPLITS)}")
        seeds = SPLITS[split]
        if not 1 <= n <= len(seeds):
            raise ArsbenchError(f"asked for {n} faces of split '{split}', which has 1 to {len(seeds)} to give")
        self.size = size
        self.seeds = list(seeds[:n])
        self.keys = [face_key(seed) for seed in self.seeds]

    def pixels(self, index: int) -> Pixels:
        """The 8-bit pixels ``[size, size, 3]``, shipped or generated."""
        return _enlarged(self._pixels(self.seeds[index]), self.size)

    def _pixels(self, seed: int) -> Pixels:
        for name, seeds in (("test", SHIPPED_SEEDS), ("condition", CONDITION_SEEDS)):
            if seed in seeds:
                face: Pixels = _shipped()[name][seed - seeds.start]
                return face
        return generate_pixels(seed)


def _enlarged(pixels: Pixels, size: int) -> Pixels:
    if len(pixels) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR), dtype=np.uint8)


def load_faces(split: str = "test", n: int = 100) -> tuple[Tensor, list[str]]:
    """The first ``n`` faces of a split of the open track, at once.

    Returns:
        Delivered faces ``[n, 3, 64, 64]`` in [-1, 1], and their keys.

    Raises:
        ArsbenchError: as :class:`ShippedFaces`.
    """
    source = ShippedFaces(split, n)
    return source.batch(range(n)), source.keys


def condition_faces(size: int = OPEN_SIZE) -> tuple[Tensor, list[str]]:
    """The shipped list of 16 validation faces that a manipulator's condition is chosen from.

    Args:
        size: as in :class:`ShippedFaces`.

    Returns:
        Delivered faces ``[16, 3, size, size]`` in [-1, 1], and their keys.

    Raises:
        ArsbenchError: the shipped file is damaged.
    """
    source = ShippedFaces("val", len(CONDITION_SEEDS), size)
    return source.batch(range(len(source))), source.keys


def training_seeds(first: int, count: int) -> list[int]:
    """The seeds of training faces ``first`` onwards: the split's own, and after its 10000 fresh ones without end."""
    split = SPLITS["train"]
    return [i if i in split else FRESH_SEEDS_FROM + i for i in range(first, first + count)]


def training_latents(first: int, count: int) -> Tensor:
    """The generator's z of training faces ``first`` onwards, ``[count, 100]``."""
    return latents(training_seeds(first, count))


@torch.no_grad()
def training_faces(first: int, count: int) -> tuple[Tensor, list[str]]:
    """Training faces ``first`` onwards, never ending; generated in one batch, for speed.

    Returns:
        Delivered faces ``[count, 3, 64, 64]`` in [-1, 1], and their keys.
    """
    return deliver(_generator()(training_latents(first, count))), [
        f"open/train/{seed}" for seed in training_seeds(first, count)
    ]


def collage(outer: Tensor, inner: Tensor) -> Tensor:
    """:meth:`arsbench.faces.generator.FaceGenerator.collage` with the shipped weights."""
    return _generator().collage(outer, inner)
