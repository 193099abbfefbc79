"""Where the images come from: the shipped faces, and a folder of the user's own pictures.

The open track's faces are those of :mod:`arsbench.face_generator`, by seed, split like the paper's data: train
0-9999, validation 10000-11999, test 12000-13999. The first 1000 test faces and the 16 condition faces are shipped as
8-bit pixels, so that they are the same on every machine; all others are generated when asked for. Every face here is
delivered (8 bit).
"""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.delivery import deliver, from_bytes, to_bytes
from arsbench.face_generator import FaceGenerator, latents, load_face_generator

TRACK_SIZES = {"open": 64, "paper": 256}
"""Side of the pictures of each track, in pixels."""
OPEN_SIZE = TRACK_SIZES["open"]
SPLITS = {"train": range(0, 10000), "val": range(10000, 12000), "test": range(12000, 14000)}
"""Seeds of each split of the open track."""
SHIPPED_SEEDS = range(12000, 13000)
CONDITION_SEEDS = range(10000, 10016)
FRESH_SEEDS_FROM = 1_000_000
"""Training that needs more faces than the train split has goes on from here, far from validation and test."""
IGNORED_NAMES = {"thumbs.db", "desktop.ini"}
"""Files that desktops leave among pictures; hidden files are ignored, too."""

Pixels = NDArray[np.uint8]


def pixel_digest(pixels: Pixels) -> str:
    """SHA-256 over the shape and the 8-bit pixels ``[H, W, 3]`` of a picture."""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


class FaceSource(ABC):
    """A fixed, ordered list of delivered faces, of which only the batch asked for is in memory.

    Attributes:
        keys: the faces' keys, each once.
        size: height and width in pixels.
    """

    keys: list[str]
    size: int

    def __len__(self) -> int:
        return len(self.keys)

    @abstractmethod
    def pixels(self, index: int) -> Pixels:
        """The 8-bit pixels ``[H, W, 3]`` of face number ``index``."""

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Delivered faces ``[len(indices), 3, size, size]``, float32 in [-1, 1]."""
        return from_bytes(torch.from_numpy(np.stack([self.pixels(i) for i in indices])))

    def digest(self, index: int) -> str:
        """SHA-256 of the face's 8-bit pixels: what the content key of its cells is made of."""
        return pixel_digest(self.pixels(index))


# --- the shipped faces ----------------------------------------------------------------------------------------------


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
    return read_shipped(Path(__file__).parent / "shipped")


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
    """:meth:`arsbench.face_generator.FaceGenerator.collage` with the shipped weights."""
    return _generator().collage(outer, inner)


# --- a folder of the user's own -------------------------------------------------------------------------------------


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Deep greyscale (16 bit, 32 bit, float) scaled to 8 bits, where ``convert`` would clip it.

    Integers are taken as 16 bit, floating-point values as [0, 1].
    """
    values = np.asarray(image).astype(np.float64)
    top = 1.0 if image.mode == "F" else 65535.0
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= top):
        raise ValueError(f"values outside 0 .. {top:g} in a picture of mode {image.mode}")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any picture as upright 8-bit RGB.

    The EXIF orientation is applied; transparent pixels are laid over white; deep greyscale is scaled; of an animation
    the first frame is taken. Colour profiles are not applied.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def read_picture(path: Path, size: int) -> Pixels:
    """A picture file as pixels ``[size, size, 3]``: the shorter side resized to ``size``, the centre cropped.

    Resizing is bilinear with antialiasing.

    Raises:
        ArsbenchError: the file cannot be read as a picture.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # large photographs and odd metadata are no concern of the user's
            square = ImageOps.fit(to_rgb(image), (size, size), Image.Resampling.BILINEAR)
            return np.asarray(square, dtype=np.uint8)
    except Exception as error:  # a decoder facing a broken file raises anything
        reason = str(error).replace(str(path), path.name) or type(error).__name__
        raise ArsbenchError(
            f"the picture {path} cannot be read ({reason}); remove it or skip such files with --skip-bad"
        ) from error


class FolderFaces(FaceSource):
    """The pictures of a folder and its subfolders, in the order of their paths.

    Any size and mode; see :func:`to_rgb` and :func:`read_picture` for what becomes of them. Each file is opened once
    before anything else is done with the folder; pixels are read again batch by batch and never kept.

    Args:
        folder: where the pictures are. Hidden files and folders are left out.
        size: height and width that the faces are brought to.
        skip_bad: leave out files that cannot be read, instead of refusing the folder.
        n: how many pictures at most; all of them if left out.

    Attributes:
        skipped: the files that were left out, relative to the folder.

    Raises:
        ArsbenchError: no such folder, no readable picture in it, or, without ``skip_bad``, a file that is none; all
            of them are named.
    """

    def __init__(self, folder: Path | str, size: int = OPEN_SIZE, skip_bad: bool = False, n: int | None = None) -> None:
        self.folder = Path(folder)
        self.size = size
        self.keys: list[str] = []
        self.skipped: list[str] = []
        self._digests: list[str] = []
        if not self.folder.is_dir():
            raise ArsbenchError(f"there is no folder {self.folder}; --faces takes a folder of pictures")
        if n is not None and n < 1:
            raise ArsbenchError(f"asked for {n} pictures of {self.folder}; ask for at least one")
        for key in picture_keys(self.folder):
            if len(self.keys) == n:
                break
            try:
                digest = pixel_digest(read_picture(self.folder / key, size))
            except ArsbenchError:
                self.skipped.append(key)
                continue
            self.keys.append(key)
            self._digests.append(digest)
        if self.skipped and not skip_bad:
            raise ArsbenchError(
                f"{len(self.skipped)} file(s) in {self.folder} cannot be read as pictures: {', '.join(self.skipped)}; "
                "remove them or skip them with --skip-bad"
            )
        if not self.keys:
            raise ArsbenchError(f"there are no readable pictures in {self.folder}; --faces takes a folder of pictures")

    def pixels(self, index: int) -> Pixels:
        """The picture as read now, ``[size, size, 3]``."""
        return read_picture(self.folder / self.keys[index], self.size)

    def digest(self, index: int) -> str:
        """The digest of the picture as it was when the folder was opened."""
        return self._digests[index]


def picture_keys(folder: Path) -> list[str]:
    """Every file that may be a picture, relative to the folder, sorted."""
    found = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if (
            path.is_file()
            and not any(part.startswith(".") for part in relative.parts)
            and path.name.lower() not in IGNORED_NAMES
        ):
            found.append(relative.as_posix())
    return sorted(found)


def open_folder(folder: Path | str, size: int = OPEN_SIZE, skip_bad: bool = False, n: int | None = None) -> FolderFaces:
    """Opens a folder of the user's pictures, as :class:`FolderFaces`."""
    return FolderFaces(folder, size, skip_bad, n)
