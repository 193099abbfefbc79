"""Formats that are read, those that are named, and metadata that costs no picture."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from arsbench.contracts import ArsbenchError
from arsbench.faces.folder import FolderFaces
from arsbench.faces.formats import readable, what_it_is
from arsbench.faces.pictures import read_picture
from arsbench.photos.picture import read_photo
from arsbench.photos.write import choose_format

CASES = Path(__file__).parents[2] / "fixtures" / "cases" / "pictures"
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes, values: np.ndarray | None = None, depth: int = 8) -> bytes:
    """A PNG by hand: RGB of 8 bits, or grey values of any depth; ``chunks`` stand before the pixels."""
    if values is None:
        kind, rows = 2, [row.tobytes() for row in PIXELS]
    else:
        kind = 0 if values.ndim == 2 else 2
        rows = [
            row.astype(">u2").tobytes()
            if depth == 16
            else np.packbits(np.unpackbits(row[:, None].astype(np.uint8), axis=1)[:, -depth:].ravel()).tobytes()
            for row in values
        ]
    header = struct.pack(">IIBBBBB", 8, 8, depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")])


def read(data: bytes, path: Path, size: int = 8) -> np.ndarray:
    path.write_bytes(data)
    return read_picture(path, size)


def jpeg(**options: object) -> bytes:
    made = io.BytesIO()
    Image.fromarray(PIXELS.repeat(4, 0).repeat(4, 1)).save(made, "JPEG", quality=95, **options)
    return made.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


# --- metadata -------------------------------------------------------------------------------------------------------


def test_the_listed_cases_are_read():
    turned = read_picture(CASES / "rational.jpg", 8).astype(int)
    assert turned.shape == (8, 8, 3)
    with Image.open(CASES / "rational.jpg") as image:
        whole = Image.fromarray(np.rot90(np.asarray(image.convert("RGB")), -1))  # orientation 6
    assert np.array_equal(turned, np.asarray(whole.resize((8, 8), Image.Resampling.BILINEAR)))
    assert read_picture(CASES / "iccp_method1.png", 8)[0, 0].tolist() == [200, 100, 50]


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iCCP", b"x\0\1" + zlib.compress(b"profile")),
        chunk(b"iCCP", b"x\0\0" + b"not compressed"),
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1))),
        chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1))),
        chunk(b"zTXt", b"x\0\7" + b"odd"),
        chunk(b"iTXt", b"x\0\1\0\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1))),
        chunk(b"tEXt", b"fine\0text")[:-4] + b"\0\0\0\0",
        chunk(b"gAMA", b""),
        chunk(b"pHYs", b"\0"),
        chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
        chunk(b"tRNS", b"\0"),
    ],
    ids=["method", "garbage", "large profile", "large", "text", "large itxt", "crc", "gamma", "phys", "exif", "trns"],
)
def test_odd_or_large_metadata_costs_no_png(tmp_path, extra):
    assert np.array_equal(read(png(extra), tmp_path / "a.png"), PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_with_a_damaged_tag_is_turned_as_it_would_be_without(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    whole = read(jpeg(exif=exif), tmp_path / "whole.jpg", 32)
    # An entry of a rational that points out of the data, and one of a kind that does not exist.
    entries = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    entries += struct.pack(">HHII", 0x11A, 5, 1, 0xFFFFFF) + struct.pack(">HHII", 0x9999, 77, 9, 1)
    body = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 3) + entries + b"\0\0\0\0"
    plain = jpeg()
    assert np.array_equal(read(plain[:2] + segment(0xE1, body) + plain[2:], tmp_path / "a.jpg", 32), whole)


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE2, b"MPF\0MM\0*\xff\xff\xff\xff"),
        segment(0xE2, b"ICC_PROFILE\0\x09\x02broken"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\xff"),
        segment(0xE1, b"Exif\0\0garbage"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:broken"),
        segment(0xFE, b"\xff\xfe\xfd"),
        segment(0xEE, b"Adobe\0"),
    ],
    ids=["mpf", "icc", "photoshop", "exif", "xmp", "comment", "adobe"],
)
def test_broken_application_data_costs_no_jpeg(tmp_path, extra):
    plain = jpeg()
    wanted = read(plain, tmp_path / "plain.jpg", 32)
    assert np.array_equal(read(plain[:2] + extra + plain[2:], tmp_path / "a.jpg", 32), wanted)


def test_damaged_pixels_are_still_refused(tmp_path):
    data = bytearray(png(chunk(b"iCCP", b"x\0\1bad")))
    at = data.index(b"IDAT") + 10
    data[at] ^= 0xFF
    for broken in (bytes(data), jpeg()[:200], png()[:60]):
        (tmp_path / "a").write_bytes(broken)
        with pytest.raises(ArsbenchError, match="cannot be read"):
            read_picture(tmp_path / "a", 8)


# --- transparency of grey -------------------------------------------------------------------------------------------


def test_the_listed_grey_of_16_bits_lies_over_white():
    assert read_picture(CASES / "grey16_trns.png", 8)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_value_lies_over_white_at_every_depth(tmp_path, depth):
    top = 2**depth - 1
    values = np.where(np.indices((8, 8)).sum(0) % 2, top, 0)
    for clear, left in ((0, 255), (top, 0)):
        pixels = read(png(chunk(b"tRNS", struct.pack(">H", clear)), values=values, depth=depth), tmp_path / "a.png")
        assert set(pixels[values == clear].ravel().tolist()) == {255}
        assert set(pixels[values != clear].ravel().tolist()) == {left}


def test_a_transparent_colour_of_16_bits_lies_over_white(tmp_path):
    values = np.zeros((8, 8, 3), dtype=int)
    values[:4] = (40000, 300, 65535)
    data = png(chunk(b"tRNS", struct.pack(">HHH", 40000, 300, 65535)), values=values, depth=16)
    pixels = read(data, tmp_path / "a.png")
    assert set(pixels[:4].ravel().tolist()) == {255}
    assert set(pixels[4:].ravel().tolist()) == {0}


# --- formats --------------------------------------------------------------------------------------------------------

POSTSCRIPT = (CASES / "eps.jpg").read_bytes()


def test_postscript_reaches_no_interpreter_whatever_it_is_called(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    for name in ("Popen", "call", "check_call", "run"):
        monkeypatch.setattr(subprocess, name, refuse)
    monkeypatch.setattr(os, "system", refuse)
    binary = b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(POSTSCRIPT)) + bytes(20) + POSTSCRIPT
    for name, data in (("a.jpg", POSTSCRIPT), ("a.eps", POSTSCRIPT), ("b.png", binary)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ArsbenchError, match="is PostScript; convert it to PNG"):
            read_picture(tmp_path / name, 8)


def test_no_format_that_hands_its_files_to_another_program_is_read():
    assert {"PNG", "JPEG", "GIF", "TIFF", "BMP", "PPM"} <= set(readable())
    assert not {"EPS", "WMF", "PDF", "GRIB", "HDF5", "BUFR", "FPX", "MIC", "IPTC", "MPEG"} & set(readable())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((CASES / "heic.heic").read_bytes(), "HEIC; pip install 'arsbench[heic]'"),
        (b"\0\0\0\x18ftypmif1" + bytes(40), "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"<?xml version='1.0'?><svg xmlns=", "SVG"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\xff\x0a\xff", "JPEG XL"),
        (b"PK\x03\x04", "zip archive"),
        (b"Rar!\x1a\x07\0", "RAR archive"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"/annex/objects/SHA256E-s1--0.png\n", "git annex get"),
        (b'{"error": "gone"}', "JSON"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "a film"),
        (bytes(1000), "its copy was not finished"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_picture_is_told_for_what_it_is(tmp_path, data, said, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "a.jpg").write_bytes(data)
    assert said in (what_it_is(tmp_path / "a.jpg") or "")
    with pytest.raises(ArsbenchError) as caught:
        FolderFaces(tmp_path, 8)
    assert said in str(caught.value)


# --- HEIC -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def heic(tmp_path):
    """A soft picture as a phone stores it, and its pixels."""
    import pillow_heif as heif

    pixels = np.asarray(Image.fromarray(PIXELS).resize((64, 64), Image.Resampling.BICUBIC))
    heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "a.heic", quality=95, chroma="444")
    return tmp_path / "a.heic", pixels


def test_heic_is_read_with_the_extra(heic):
    path, pixels = heic
    assert np.abs(read_picture(path, 64).astype(int) - pixels).mean() < 4
    assert len(FolderFaces(path.parent, 64).keys) == 1


def test_a_damaged_heic_is_not_told_to_install_what_is_there(heic):
    path, _ = heic
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArsbenchError) as caught:
        read_picture(path, 64)
    assert "pip install" not in str(caught.value)


def test_a_heic_photo_is_protected_as_png(heic):
    path, pixels = heic
    photo = read_photo(path)
    assert choose_format(photo, "same") == "PNG"
    assert "HEIF" in photo.notes[-1]
    assert photo.image.size == pixels.shape[1::-1]
