"""A photo as it is stored: its samples in their own mode and depth, what people see of it, and what goes with it."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arsbench.contracts import ArsbenchError
from arsbench.faces import formats
from arsbench.faces.pictures import RAW_MODE, open_picture, to_rgb, why_not
from arsbench.faces.sources import Pixels

Samples = NDArray[Any]

LEAST_SIDE = 16
ORIENTATION = 0x0112
BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""By EXIF orientation: what turns the upright picture into the stored one."""
COLOURS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "CMYK": 4, "I;16": 1, "I;16L": 1, "I;16B": 1, "I": 1, "F": 1}
"""The modes that are kept, with their number of samples beside alpha."""
CONVERTED = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}


@dataclass(frozen=True)
class Photo:
    """A photo in memory.

    Attributes:
        image: as stored, in a mode of :data:`COLOURS`, with its ``info``; not turned.
        format: of the file, or empty.
        name: for messages.
        notes: what could not be kept, each a sentence.
        size_in: bytes of the file, or 0.
    """

    image: Image.Image
    format: str
    name: str
    notes: list[str] = field(default_factory=list)
    size_in: int = 0

    @property
    def mode(self) -> str:
        """Pillow's name of how the samples are stored."""
        return self.image.mode

    @property
    def top(self) -> float:
        """The largest value of a sample."""
        return 1.0 if self.mode == "F" else 65535.0 if self.mode.startswith("I") else 255.0

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        try:
            value = self.image.getexif().get(ORIENTATION, 1)
        except Exception:  # what a damaged block holds is anybody's guess
            return 1
        return value if value in BACK else 1

    @property
    def grey(self) -> bool:
        """Whether there is one sample for all colours."""
        return COLOURS[self.mode] == 1

    def samples(self) -> Samples:
        """``[H, W, C]`` without alpha, in the file's own depth and orientation."""
        values = np.asarray(self.image)
        return (values if values.ndim == 3 else values[..., None])[..., : COLOURS[self.mode]]

    def alpha(self) -> Samples | None:
        """``[H, W]``, or ``None``."""
        return np.asarray(self.image)[..., -1] if self.mode in ("LA", "RGBA") else None

    def upright(self) -> Image.Image:
        """What people see: RGB, 8 bits, turned, over white where it is transparent.

        Raises:
            ArsbenchError: its values go beyond 16 bits.
        """
        try:
            return to_rgb(self.image)
        except ValueError as error:
            raise ArsbenchError(f"{self.name} cannot be shown: {error}; convert it to 8 or 16 bits first") from error

    def stored(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[H, W, C]`` of the upright picture -> of the stored one."""
        back = BACK.get(self.orientation)
        if back is None:
            return values
        planes = [np.asarray(Image.fromarray(values[..., c].copy()).transpose(back)) for c in range(values.shape[2])]
        return np.stack(planes, 2)

    def with_samples(self, samples: Samples) -> Photo:
        """This photo with other samples ``[H, W, C]``, alpha and ``info`` as they were."""
        alpha = self.alpha()
        values = samples if alpha is None else np.concatenate([samples, alpha[..., None]], 2)
        values = np.ascontiguousarray(values[..., 0] if values.shape[2] == 1 else values)
        image = Image.fromarray(values, "CMYK") if self.mode == "CMYK" else Image.fromarray(values)
        if image.mode != self.mode:
            image = image.convert(self.mode)
        image.info = dict(self.image.info)
        return Photo(image, self.format, self.name, self.notes, self.size_in)

    def pixels(self) -> Pixels:
        """:meth:`upright` as ``[H, W, 3]``."""
        return np.asarray(self.upright(), dtype=np.uint8)


def read_photo(source: Path | bytes, name: str = "") -> Photo:
    """Reads a photo.

    Args:
        source: the file, or its bytes.
        name: for messages; by default the path.

    Raises:
        ArsbenchError: it cannot be read as a picture.
    """
    name = name or (str(source) if isinstance(source, Path) else "the photo")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large photographs and odd metadata are no concern of the user's
            if isinstance(source, Path):
                size_in, image = source.stat().st_size, open_picture(source)
            else:
                size_in, image = len(source), Image.open(io.BytesIO(source), formats=formats.readable())
                image.load()
        _keep_metadata(image)
        return take(image, name, image.format or "", size_in, _pictures(source))
    except ArsbenchError:
        raise
    except Exception as error:  # a decoder facing a broken file raises anything
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        else:
            reason = why_not(source, error) if isinstance(source, Path) else str(error)
        raise ArsbenchError(f"{name} cannot be read as a photo ({reason}); give another file") from error


def _pictures(source: Path | bytes) -> int:
    """How many pictures the file holds; 1 where that cannot be read."""
    with contextlib.suppress(Exception):
        file = source if isinstance(source, Path) else io.BytesIO(source)
        with Image.open(file, formats=formats.readable()) as image:
            return int(getattr(image, "n_frames", 1))
    return 1


def _keep_metadata(image: Image.Image) -> None:
    """Reads the parts of the EXIF block that Pillow would look for in the file later, when it is closed."""
    try:
        for tag in (0x8769, 0x8825):
            image.getexif().get_ifd(tag)
    except Exception:  # whoever needs a damaged block says so
        return


def take(image: Image.Image, name: str = "the photo", format: str = "", size_in: int = 0, pictures: int = 1) -> Photo:
    """A picture in memory as a :class:`Photo`; of several ``pictures`` in a file, the first.

    Raises:
        ArsbenchError: its mode is none that can be kept or converted, or it is too small.
    """
    notes = []
    if pictures > 1:
        notes.append(f"of its {pictures} pictures the first was protected and written; the others would show the face")
    if "16" in str(image.info.pop(RAW_MODE, "")) and image.mode in ("RGB", "RGBA"):
        notes.append("its 16 bits per colour were read as 8")
    exif = image.info.get("exif")
    if image.mode not in COLOURS or ("transparency" in image.info and image.mode in ("L", "RGB")):
        wanted = CONVERTED.get(image.mode, image.mode)
        if wanted not in COLOURS:
            raise ArsbenchError(f"{name} is stored in mode {image.mode}; convert it to RGB first")
        if "transparency" in image.info or (image.mode == "P" and image.has_transparency_data):
            wanted = "LA" if image.mode == "L" else "RGBA"
        notes.append(f"its mode {image.mode} has no room for noise: written as {wanted}")
        info = {key: value for key, value in image.info.items() if key != "transparency"}
        image = image.convert(wanted)
        image.info = info
        if exif is not None:
            image.info["exif"] = exif
    if min(image.size) < LEAST_SIDE:
        raise ArsbenchError(
            f"{name} is {image.width} x {image.height} pixels; give one of at least {LEAST_SIDE} x {LEAST_SIDE}"
        )
    return Photo(image, format, name, notes, size_in)
