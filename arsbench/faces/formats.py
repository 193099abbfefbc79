"""Which picture files are read, and what the others are told to be.

Only formats of pixels that Pillow decodes by itself: PostScript, for one, would be handed to Ghostscript, an
interpreter that a file from elsewhere should not reach.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from PIL import Image

RASTER = frozenset(
    {
        *("AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "GBR", "GIF", "HEIF", "ICNS"),
        *("ICO", "IM", "IMT", "JPEG", "JPEG2000", "MCIDAS", "MPO", "MSP", "PCD", "PCX", "PIXAR", "PNG", "PPM"),
        *("PSD", "QOI", "SGI", "SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM", "XVTHUMB"),
    }
)
"""Pillow's names of the formats that are read."""

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
"""What follows ``ftyp`` in the pictures of phones."""

_NOT_PICTURES = (
    (b"%!PS", "is PostScript; convert it to PNG"),
    (b"\xc5\xd0\xd3\xc6", "is PostScript; convert it to PNG"),
    (b"%PDF", "is a PDF document; convert its pages to PNG"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the picture; fetch it with: git lfs pull"),
    (b"\xff\x0a", "is JPEG XL; convert it to PNG"),
    (b"\x00\x00\x00\x0cJXL ", "is JPEG XL; convert it to PNG"),
    (b"\xd7\xcd\xc6\x9a", "is a Windows metafile; convert it to PNG"),
    (b"/annex/objects", "is a git-annex pointer, not the picture; fetch it with: git annex get"),
    (b"PK\x03\x04", "is a zip archive; unpack it"),
    (b"Rar!", "is a RAR archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it"),
)
_MARKUP = (
    (b"<svg", "is SVG, a drawing without pixels; convert it to PNG"),
    (b"<!doctype html", "is a web page, not a picture; fetch the picture again"),
    (b"<html", "is a web page, not a picture; fetch the picture again"),
)
_HEAD = 1024


@functools.cache
def readable() -> tuple[str, ...]:
    """Those of :data:`RASTER` that Pillow has on this machine, in the order in which it tries them."""
    Image.init()
    return tuple(name for name in Image.ID if name in RASTER)


def is_heif(path: Path) -> bool:
    """Whether the file begins as a HEIC or HEIF picture does."""
    head = _head(path)
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS


def _has_heif() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def add_heif() -> bool:
    """Lets Pillow read HEIC, where the extra ``arsbench[heic]`` is installed; returns whether it is."""
    if not _has_heif():
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    readable.cache_clear()
    return True


def what_it_is(path: Path) -> str | None:
    """What a file that is no picture of a known format is, and what to do; ``None`` where it is not recognised."""
    head = _head(path)
    if is_heif(path):
        if _has_heif():
            return None  # what the decoder says of it is nearer
        return "is HEIC; pip install 'arsbench[heic]' lets arsbench read it, or convert it to JPEG or PNG"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "is AVIF, which this Pillow cannot read; install a newer Pillow, or convert it to PNG"
    if head[4:8] == b"ftyp":
        return "is a film or a camera's raw file; export a picture as JPEG or PNG"
    if not any(head):
        return (
            "is empty; fetch it again" if not head else "holds zeros alone: its copy was not finished; fetch it again"
        )
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<"):
        return next((said for mark, said in _MARKUP if mark in text), None)
    if text.startswith((b"{", b"[")) and text.isascii():
        return "is a text in JSON, not a picture; fetch the picture again"
    return next((said for start, said in _NOT_PICTURES if head.startswith(start)), None)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b"?"
