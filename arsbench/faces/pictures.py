"""Reads any picture file as upright 8-bit RGB."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from arsbench.contracts import ArsbenchError
from arsbench.faces.sources import Pixels


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
