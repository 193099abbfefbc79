"""What goes with a photo's pixels: EXIF without place and preview, the profile, and the mark that it is protected."""

from __future__ import annotations

from typing import Any

from PIL import Image

from arsbench.photos.picture import ORIENTATION, Photo

GPS, DETAILS = 0x8825, 0x8769
PROCESSED_BY = 0x000B
"""EXIF's ProcessingSoftware: where the mark stands in every format."""
MARK = "arsbench protect"
PIXEL_TAGS = frozenset((*range(0x0100, 0x010A), 0x0111, *range(0x0115, 0x011A), 0x011C, 0x013D, 0x0152, 0x0153, 0x8773))
"""Tags of a TIFF file that say how its pixels are stored: they come with the pixels that are written."""
XMP = 0x02BC
KEPT = ("icc_profile", "dpi", "comment")


def is_protected(photo: Photo) -> bool:
    """Whether the photo bears the mark."""
    try:
        return str(photo.image.getexif().get(PROCESSED_BY, "")).startswith(MARK)
    except Exception:  # what a damaged block holds is anybody's guess
        return False


def kept_exif(photo: Photo, keep_location: bool, mark: str | None) -> Image.Exif:
    """The photo's EXIF without its preview, which shows the face as it was; without the place unless asked for.

    A block that cannot be read is left out, with a note on the photo.
    """
    kept = Image.Exif()
    try:
        source = photo.image.getexif()
        for tag in (tag for tag in source if tag not in PIXEL_TAGS and tag != XMP):
            if tag == GPS:
                if keep_location:
                    kept.get_ifd(GPS).update(source.get_ifd(GPS))
            elif tag == DETAILS:
                kept.get_ifd(tag).update({k: _text(v) for k, v in source.get_ifd(tag).items()})
            else:
                kept[tag] = _text(source[tag])
        kept.tobytes()
    except Exception:
        kept = Image.Exif()
        if photo.orientation != 1:
            kept[ORIENTATION] = photo.orientation
        photo.notes.append("its EXIF block is damaged and was left out, but for the orientation")
    if mark is not None:
        kept[PROCESSED_BY] = mark
    return kept


def for_tiff(exif: Image.Exif) -> Image.Exif:
    """The same for Pillow's TIFF writer, which takes only those inner blocks that were read."""
    read = Image.Exif()
    read.load(exif.tobytes())
    for tag in (tag for tag in exif if isinstance(exif[tag], bytes | str)):
        read[tag] = exif[tag]
    for tag in (GPS, DETAILS):
        if tag in read:
            read.get_ifd(tag)
    return read


def _text(value: Any) -> Any:
    """Text with letters beyond ASCII as the bytes that stood in the file: Pillow would write question marks."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value


def has_location(photo: Photo) -> bool:
    """Whether the photo says where it was taken."""
    try:
        return bool(photo.image.getexif().get_ifd(GPS))
    except Exception:
        return False


def kept_options(photo: Photo, format: str) -> dict[str, Any]:
    """What else is written as it was: colour profile, resolution, comment."""
    options = {name: photo.image.info[name] for name in KEPT if photo.image.info.get(name)}
    if format == "PNG" and isinstance(photo.image.info.get("transparency"), int):
        options["transparency"] = photo.image.info["transparency"]
    if format != "JPEG":
        options.pop("comment", None)
    if format not in ("JPEG", "PNG", "TIFF"):
        options.pop("dpi", None)
    return options
