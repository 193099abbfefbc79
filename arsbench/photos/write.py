"""Noise added to the untouched original, and the file written so that what a reader decodes stays within epsilon."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arsbench.contracts import ArsbenchError
from arsbench.photos.metadata import for_tiff, kept_exif, kept_options
from arsbench.photos.picture import Photo, Samples, read_photo

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}
WRITES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("L", "LA", "RGB", "RGBA", "I;16", "I"),
    "WEBP": ("L", "RGB", "RGBA"),
    "TIFF": ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16L", "I;16B", "I", "F"),
    "BMP": ("L", "RGB"),
}
"""The modes that each format stores as they are, but for WebP, which has no grey: there all three samples are equal."""
SAME = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "WEBP": "WEBP", "TIFF": "TIFF", "BMP": "BMP"}
"""What a format is written as where no other is asked for; those missing become PNG."""
QUALITIES = (95, 97, 99, 100)
"""Of JPEG where none is given: the first at which the codec alone changes no sample by over its share of epsilon."""
CODEC_SHARE, GREY_CODEC_SHARE = 1 / 8, 1 / 32
"""Grey noise, which has one value where colours have three, has less to spare for the codec."""
TRIES = 20
"""How often noise is made smaller where a lossy codec added to it."""
SPARE = 1.0
"""Levels of 255 by which it is made smaller than it must be."""
BLOCK = 16
"""Pixels of a block in which noise is made smaller: those of JPEG and of WebP lie in it whole."""

Levels = NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """A file in memory.

    Attributes:
        data: its bytes.
        format: Pillow's name.
        quality: of the codec, or ``None`` where it loses nothing.
        changed: the largest change of a sample, in levels of 255, as decoded from ``data``, against the original.
        codec: what the codec alone changes of the original, likewise; 0 where it loses nothing.
        against: ``original``, or ``original as written`` where the codec alone changes more than epsilon.
    """

    data: bytes
    format: str
    quality: int | None
    changed: float
    codec: float
    against: str = "original"


def largest_change(epsilon: float, top: float) -> float:
    """The budget in the file's own levels: whole ones, where samples are whole numbers."""
    levels = epsilon / 2 * top
    return levels if top == 1.0 else float(np.floor(levels + 1e-6))


def add_noise(photo: Photo, noise: NDArray[np.float32], epsilon: float) -> Samples:
    """The photo's samples with noise added, clamped to epsilon and to the range of the samples.

    Args:
        photo: the original.
        noise: of the upright picture ``[H, W, 3]`` in [-1, 1] units.
        epsilon: L_inf budget in [-1, 1] units.

    Returns:
        ``[H, W, C]`` in the photo's own depth and orientation; pixels that are wholly transparent stay as they are.
    """
    original = photo.samples()
    limit = largest_change(epsilon, photo.top)
    change = photo.stored(noise) * (photo.top / 2)
    if photo.grey:
        change = change.mean(2, keepdims=True)
    elif photo.mode == "CMYK":
        # An ink takes light away, and the less the more black there is.
        light = np.maximum(255 - original[..., 3:].astype(np.float32), 1) / 255
        change = np.concatenate([-change / light, np.zeros_like(light)], 2)
    alpha = photo.alpha()
    if alpha is not None:
        change = np.where(alpha[..., None] > 0, change, 0)
    samples = _within(original, original.astype(np.float32) + change, limit, photo.top)
    key = photo.image.info.get("transparency")
    if isinstance(key, int):  # of deep grey: one value stands for nothing, and no other may become it
        samples = np.where((original == key) | (samples == key), original, samples)
    return samples


def _changed_region(original: Samples, protected: Samples) -> tuple[slice, slice]:
    """The rows and columns of whole blocks that the change lies in."""
    changed = (original != protected).any(2)
    return _whole_blocks(changed.any(1)), _whole_blocks(changed.any(0))


def _whole_blocks(changed: NDArray[np.bool_]) -> slice:
    where = np.flatnonzero(changed)
    return slice(where[0] // BLOCK * BLOCK, (where[-1] // BLOCK + 1) * BLOCK) if len(where) else slice(None)


def _block_maximum(values: Levels) -> Levels:
    """``[H, W, C]`` -> the largest of each block's and its channels', where positive, at each of its pixels."""
    height, width, _ = values.shape
    rows, columns = (np.arange(0, side, BLOCK) for side in (height, width))
    largest = np.maximum.reduceat(np.maximum.reduceat(values.max(2), rows, 0), columns, 1).clip(min=0)
    whole: Levels = np.repeat(np.repeat(largest, BLOCK, 0), BLOCK, 1)[:height, :width, None]
    return whole


def _within(original: Samples, wanted: NDArray[Any], limit: float | Levels, top: float) -> Samples:
    """``wanted`` rounded, at most ``limit`` (a number, or one per sample) from ``original`` and in [0, top]."""
    if top == 1.0:
        low, high = np.maximum(original - limit, 0), np.minimum(original + limit, 1)
        held: Samples = np.clip(wanted, low, high).astype(original.dtype)
        return held
    base = original.astype(np.int32)
    change = np.clip(np.rint(wanted - original), -limit, limit).astype(np.int32)
    held = np.clip(base + change, 0, int(top)).astype(original.dtype)
    return held


def change_between(a: Samples, b: Samples, top: float) -> float:
    """The largest difference of two samples, in levels of 255."""
    if a.dtype == np.uint8:
        largest = int(np.maximum(a, b).__isub__(np.minimum(a, b)).max(initial=0))
        return float(largest)
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0)) * 255 / top


def choose_format(photo: Photo, format: str) -> str:
    """Pillow's name of the format to write.

    Args:
        photo: the original.
        format: ``same``, ``png``, ``jpeg`` or ``webp``.

    Raises:
        ArsbenchError: that format cannot hold the photo's mode.
    """
    chosen = SAME.get(photo.format, "PNG") if format == "same" else format.upper()
    if format == "same" and chosen != photo.format and photo.format not in ("", "MPO"):
        photo.notes.append(f"arsbench writes no {photo.format} files: written as {chosen}")
    if format == "same" and photo.mode not in WRITES[chosen]:
        chosen = "PNG" if photo.mode in WRITES["PNG"] else "TIFF"
    if photo.mode not in WRITES[chosen]:
        holds = [name.lower() for name in ("PNG", "JPEG", "WEBP") if photo.mode in WRITES[name]]
        instead = f"--format {' or '.join(holds)}" if holds else "--format same"
        raise ArsbenchError(f"{chosen} cannot hold {photo.name}, whose mode is {photo.mode}; give {instead}")
    if chosen == "WEBP" and photo.mode == "L":
        photo.notes.append("WebP has no grey: written with three equal samples")
    return chosen


def encode(
    photo: Photo,
    protected: Samples,
    epsilon: float,
    format: str,
    quality: int | None = None,
    keep_location: bool = False,
    mark: str | None = None,
) -> Encoded:
    """The protected photo as a file whose decoded samples are within epsilon of the original's.

    A lossless format holds ``protected`` itself. Where a codec adds its own error, the noise is made smaller sample by
    sample until what is decoded is within epsilon; where no quality was asked for, one is taken at which the codec
    alone is well within. Where the quality asked for changes samples by more than epsilon all alone, noise is held to
    epsilon against the original as that codec writes it, and ``against`` says so.

    Args:
        photo: the original.
        protected: its samples with noise, as :func:`add_noise` gives them.
        epsilon: L_inf budget in [-1, 1] units.
        format: one of :data:`WRITES`.
        quality: of a lossy codec; WebP without one loses nothing.
        keep_location: keep the place in the EXIF block.
        mark: that stands in the EXIF block.

    Raises:
        ArsbenchError: the decoded file stays beyond epsilon all the same; nothing is to be written then.
    """
    common = {"exif": kept_exif(photo, keep_location, mark), **kept_options(photo, format)}
    if format == "BMP":
        common = {}
        photo.notes.append("BMP holds no metadata, and so no mark that it is protected")
    elif format == "TIFF":
        common["exif"] = for_tiff(common["exif"])
    else:
        common["exif"] = common["exif"].tobytes()

    def written(samples: Samples, options: dict[str, Any]) -> bytes:
        picture = photo.with_samples(samples).image
        picture.info = {}
        target = io.BytesIO()
        picture.save(target, format, **common, **options)
        return target.getvalue()

    if format == "WEBP" and quality is not None and photo.grey:
        raise ArsbenchError(
            f"{photo.name} is grey, which WebP loses at a quality; leave --quality out or give --format png"
        )
    original, limit = photo.samples(), largest_change(epsilon, photo.top)
    lossless: dict[str, dict[str, Any]] = {
        "PNG": {},
        "TIFF": {},  # libtiff, which compresses, does not write the inner blocks of EXIF
        "BMP": {},
        "WEBP": {"lossless": True, "exact": True},
    }
    if format in lossless and not (format == "WEBP" and quality is not None):
        data = written(protected, lossless[format])
        changed = change_between(original, decoded(data, photo), photo.top)
        if changed > limit * 255 / photo.top + 1e-4:
            raise ArsbenchError(f"{photo.name} would be changed by {changed:.1f} levels of 255; nothing was written")
        return Encoded(data, format, None, changed, 0.0)

    def lossy(chosen: int) -> dict[str, Any]:
        if format == "WEBP":
            return {"quality": chosen, "exact": True}
        if photo.mode == "L":
            return {"quality": chosen}
        return {"quality": chosen, "subsampling": "4:4:4"}

    base, codec = original, 0.0
    for chosen in QUALITIES if quality is None else (quality,):
        as_written = decoded(written(original, lossy(chosen)), photo)
        codec = change_between(original, as_written, photo.top)
        if codec <= limit * (GREY_CODEC_SHARE if photo.grey else CODEC_SHARE):
            break
    against = "original"
    if codec > limit - SPARE:
        base, against = as_written, "original as written"
    # A JPEG file's blocks do not change each other, and a face is a small part of a large photo.
    region = _changed_region(original, protected) if format == "JPEG" else np.s_[:, :]
    part, held = base[region], base.copy()
    wanted = protected[region].astype(np.float32) - original[region] + part
    room = np.full(part.shape, limit - SPARE, dtype=np.float32)
    for _ in range(TRIES):
        held[region] = _within(part, wanted, room, photo.top)
        data = written(held, lossy(chosen))
        got = decoded(data, photo)
        if change_between(base, got, photo.top) <= limit:
            changed = change_between(original, got, photo.top)
            return Encoded(data, format, chosen, changed, codec, against)
        over: Levels = (np.abs(got[region].astype(np.float32) - part) - limit).astype(np.float32)
        room = np.maximum(room - _block_maximum(over), 0).astype(np.float32)
    raise ArsbenchError(
        f"{photo.name}: at quality {chosen} the codec changes the picture beyond epsilon; give a higher --quality or "
        "--format png"
    )


def decoded(data: bytes, photo: Photo) -> Samples:
    """The samples of a file as they compare with the original's."""
    again = read_photo(data, photo.name)
    samples = again.samples()
    if photo.mode == "L" and samples.shape[2] == 3:
        return samples[..., :1] if np.ptp(samples, axis=2).max() == 0 else samples
    return samples


def check_written(path: Path, photo: Photo, encoded: Encoded, epsilon: float) -> tuple[Photo, float]:
    """Reads the written file again and audits it: samples, size, mode, alpha, profile and orientation.

    Args:
        path: the file.
        photo: the original.
        encoded: what was written.
        epsilon: L_inf budget in [-1, 1] units.

    Returns:
        The file as read, and the largest change of a sample that was found in it, in levels of 255.

    Raises:
        ArsbenchError: something differs from what was meant.
    """
    again = read_photo(path)
    mode = "RGB" if encoded.format == "WEBP" and photo.mode == "L" else photo.mode
    bare = encoded.format == "BMP"
    profiles = [picture.image.info.get("icc_profile") for picture in (again, photo)]
    differs = {
        "size": again.image.size != photo.image.size,
        "mode": _depth(again.mode) != _depth(mode),
        "alpha": not _equal(again.alpha(), photo.alpha()),
        "colour profile": not bare and profiles[0] != profiles[1],
        "orientation": not bare and again.orientation != photo.orientation,
    }
    changed = float("inf")
    if not differs["size"] and not differs["mode"]:
        changed = change_between(photo.samples(), decoded(path.read_bytes(), photo), photo.top)
        limit = largest_change(epsilon, photo.top) * 255 / photo.top
        differs["budget"] = encoded.against == "original" and changed > limit + 1e-4
    faults = [name for name, wrong in differs.items() if wrong]
    if faults:
        raise ArsbenchError(f"{path} was written, but its {', '.join(faults)} are not what was meant; delete it")
    return again, changed


def _equal(a: Samples | None, b: Samples | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def _depth(mode: str) -> str:
    """16-bit grey is one mode, whatever the order of its bytes; a PNG file is where Pillow keeps "I" as 16 bits."""
    return "I;16" if mode.startswith("I") else mode


class OutputExistsError(ArsbenchError):
    """A file stands where one was to be written."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists already, and arsbench overwrites nothing; remove it or give another --out")


def write_new(path: Path, data: bytes) -> None:
    """Writes a file that must not exist; it appears whole or not at all.

    Raises:
        OutputExistsError: it exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() or path.is_symlink():
        raise OutputExistsError(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".arsbench-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise OutputExistsError(path) from None
        except OSError:  # a file system without links
            with path.open("xb") as target:
                target.write(data)
    finally:
        Path(temporary).unlink(missing_ok=True)


def output_name(source: Path, format: str, written: str) -> str:
    """The name of the protected file: the source's own, with another ending where its format changed."""
    endings: Sequence[str] = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "TIFF": (".tif", ".tiff")}.get(
        written, (SUFFIXES[written],)
    )
    return source.name if source.suffix.lower() in endings else f"{source.name}{SUFFIXES[written]}"
