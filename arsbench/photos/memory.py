"""Photos in memory: PIL images and arrays, protected without a file."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arsbench.contracts import ArsbenchError
from arsbench.photos.metadata import kept_exif
from arsbench.photos.picture import Photo, take
from arsbench.photos.protect import PhotoProtector

Picture = TypeVar("Picture", Image.Image, NDArray[np.generic])


def protect_image(image: Picture, protector: PhotoProtector) -> Picture:
    """A protected copy of a photo, of the type it was given.

    Args:
        image: a PIL image, turned as its EXIF orientation says when it is looked at; or an array of pixels
            ``[H, W]``, ``[H, W, 3]`` or ``[H, W, 4]``, uint8 of 0 to 255 (``[H, W]`` also uint16).
        protector: what is wanted.

    Returns:
        The copy. An image keeps its size, mode, alpha and ``info``, but for the place, the preview and the mark.

    Raises:
        ArsbenchError: the image is nothing of this, no face was found, or it was protected before.
    """
    if isinstance(image, Image.Image):
        photo = take(image.copy(), format=image.format or "")
        samples, _, _ = protector.samples(photo)
        protected = photo.with_samples(samples).image
        exif = kept_exif(photo, protector.wanted.keep_location, protector.mark())
        protected.info["exif"] = exif.tobytes()
        return protected
    samples, _, _ = protector.samples(_from_array(image))
    # Alpha is as it was.
    whole = np.array(image)
    values = whole[..., None] if whole.ndim == 2 else whole
    values[..., : samples.shape[2]] = samples
    return whole


def _from_array(pixels: NDArray[np.generic]) -> Photo:
    wanted = "give a PIL image, or uint8 pixels [H, W], [H, W, 3] or [H, W, 4] of 0 to 255"
    if not isinstance(pixels, np.ndarray):
        raise ArsbenchError(f"the image is {type(pixels).__name__}; {wanted}")
    grey = pixels.ndim == 2
    if not (grey or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))) or 0 in pixels.shape:
        raise ArsbenchError(f"the image is an array {list(pixels.shape)}; {wanted}")
    if pixels.dtype != np.uint8 and not (grey and pixels.dtype == np.uint16):
        raise ArsbenchError(f"the image is an array of {pixels.dtype}; {wanted}")
    return take(Image.fromarray(np.ascontiguousarray(pixels)))
