"""Reads any picture file as upright 8-bit RGB."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from arsbench.contracts import ArsbenchError
from arsbench.faces import formats, stripped
from arsbench.faces.sources import Pixels

RAW_MODE = "arsbench raw mode"
"""In the ``info`` of a decoded picture: how its pixels were stored, in Pillow's words."""
_GREY_STEPS = {"1": 1, "L;2": 85, "L;4": 17}
"""Of shallow grey: what one step of the stored values is in the decoded ones."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright."""


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
    the first frame is taken. Colour profiles are not applied. Metadata that cannot be read is no obstacle.
    """
    image = _upright(_with_plain_transparency(image))
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says, where that can be read; no other tag is looked at."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a parser facing a broken file raises anything
        orientation = None
    # A value of another kind compares unequal to all of them.
    method = next((method for value, method in _TURNS.items() if value == orientation), None)
    return image if method is None else image.transpose(method)


def _with_plain_transparency(image: Image.Image) -> Image.Image:
    """A transparent value that ``convert`` would take for one of 8 bits, as an alpha channel or in 8 bits."""
    value, raw = image.info.get("transparency"), image.info.get(RAW_MODE, "")
    if isinstance(value, tuple) and raw == "RGB;16B":
        image.info["transparency"] = tuple(part >> 8 for part in value)
    deep, step = image.mode in ("I", "I;16"), _GREY_STEPS.get(raw)
    if not isinstance(value, int) or not (deep or step):
        return image
    alpha = np.where(np.asarray(image).astype(np.int64) == value * (step or 1), 0, 255).astype(np.uint8)
    grey = _to_8_bit(image) if deep else image.convert("L")
    merged = Image.merge("LA", (grey, Image.fromarray(alpha)))
    merged.info = {name: entry for name, entry in image.info.items() if name != "transparency"}
    return merged


def open_picture(path: Path) -> Image.Image:
    """A picture file of one of the formats of :mod:`arsbench.faces.formats`, decoded.

    Metadata that keeps Pillow from it is left out.

    Raises:
        Exception: whatever the decoder raises.
    """
    if formats.is_heif(path):
        formats.add_heif()
    try:
        with Image.open(path, formats=formats.readable()) as image:
            return _decoded(image)
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # no such file, or it may not be read
            raise
        for data in stripped.versions(path.read_bytes()):
            with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=formats.readable()) as image:
                return _decoded(image)
        raise


def _decoded(image: Image.Image) -> Image.Image:
    tiles = getattr(image, "tile", None)
    raw = tiles[0][3] if tiles else None
    image.load()
    with contextlib.suppress(Exception):
        image.getexif()  # of some formats it is read from the file, which is about to be closed
    if isinstance(raw, str):
        image.info[RAW_MODE] = raw
    return image


def why_not(path: Path, error: Exception) -> str:
    """Why a file was not read, as a part of a sentence."""
    known = formats.what_it_is(path) if not isinstance(error, Image.DecompressionBombError) else None
    if known is not None:
        return f"it {known}"
    return str(error).replace(str(path), path.name) or type(error).__name__


def read_picture(path: Path, size: int) -> Pixels:
    """A picture file as pixels ``[size, size, 3]``: the shorter side resized to ``size``, the centre cropped.

    Resizing is bilinear with antialiasing.

    Raises:
        ArsbenchError: the file cannot be read as a picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large photographs and odd metadata are no concern of the user's
            square = ImageOps.fit(to_rgb(open_picture(path)), (size, size), Image.Resampling.BILINEAR)
            return np.asarray(square, dtype=np.uint8)
    except Exception as error:  # a decoder facing a broken file raises anything
        raise ArsbenchError(
            f"the picture {path} cannot be read ({why_not(path, error)}); replace it or remove it"
        ) from error
