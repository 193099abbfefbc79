"""A picture's file without the metadata that stands in the way of its pixels.

Damaged or oversized metadata - a colour profile, a text, EXIF - must not cost a picture. What is left concerns the
pixels: their coding, transparency and, at first, the orientation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"

_PROFILES = {b"iCCP"}
_TEXTS = {b"iTXt", b"zTXt", b"tEXt", b"tIME", b"sPLT", b"hIST", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sBIT"}
_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"}
_EXIF = b"eXIf"

_APP0, _APP1, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_ADOBE = 16
"""Bytes of a whole segment of Adobe's, its marker among them."""
_SCAN, _END = 0xDA, 0xD9
_WEBP_METADATA = 0x20 | 0x08 | 0x04
"""Flags that announce a profile, EXIF and XMP."""


def versions(data: bytes) -> Iterator[bytes]:
    """The file with less and less metadata, the orientation last; nothing for formats that are not taken apart."""
    if data.startswith(PNG):
        chunks = list(_png_chunks(data))
        kinds = {kind for kind, _ in chunks}
        without_text = kinds - _PROFILES - _TEXTS
        for kept in (kinds - _PROFILES, without_text, _PIXELS | {_EXIF}, _PIXELS, _PIXELS - {b"tRNS"}):
            yield PNG + b"".join(chunk for kind, chunk in chunks if kind in kept)
    elif data.startswith(JPEG):
        for exif in (True, False):
            yield _jpeg_without_applications(data, exif)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        yield _webp_without_metadata(data)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        yield kind, data[at:end]
        at = end


def _jpeg_without_applications(data: bytes, exif: bool) -> bytes:
    """Without the applications' segments and comments, but for JFIF's and Adobe's, which say what the colours are."""
    kept, at = [JPEG], 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker in (_SCAN, _END):
            break
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        is_exif = marker == _APP1 and data[at + 4 : at + 10] == b"Exif\0\0"
        adobe = marker == _APP14 and end - at >= _ADOBE
        metadata = (_APP1 <= marker <= _APP15 and not adobe) or marker == _COMMENT
        if not metadata or (is_exif and exif):
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def _webp_without_metadata(data: bytes) -> bytes:
    body, at = [], 12
    while at + 8 <= len(data):
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        end = at + 8 + length + length % 2
        if kind == b"VP8X" and length:
            body.append(data[at : at + 8] + bytes([data[at + 8] & ~_WEBP_METADATA]) + data[at + 9 : end])
        elif kind not in (b"ICCP", b"EXIF", b"XMP "):
            body.append(data[at:end])
        at = end
    content = b"WEBP" + b"".join(body)
    return b"RIFF" + struct.pack("<I", len(content)) + content
