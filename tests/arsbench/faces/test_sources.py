"""The shipped faces and a folder of the user's own pictures."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from arsbench.contracts import ArsbenchError
from arsbench.faces import shipped
from arsbench.faces.delivery import deliver, from_bytes, to_bytes
from arsbench.faces.folder import FolderFaces
from arsbench.faces.shipped import (
    ShippedFaces,
    condition_faces,
    decode_pixels,
    encode_pixels,
    generate_pixels,
    load_faces,
    read_shipped,
    training_faces,
    training_latents,
)
from arsbench.faces.sources import Pixels

SHIPPED = Path(str(files("arsbench") / "shipped"))

# --- the shipped faces ----------------------------------------------------------------------------------------------


def test_the_test_faces_are_delivered_pictures_named_by_seed() -> None:
    x, keys = load_faces("test", 1000)
    assert x.shape == (1000, 3, 64, 64)
    assert x.dtype == torch.float32
    assert (keys[0], keys[999]) == ("open/test/12000", "open/test/12999")
    assert torch.equal(deliver(x), x)
    assert len({bytes(p.numpy().tobytes()) for p in to_bytes(x)}) == 1000


def test_the_shipped_pixels_are_what_the_generator_gives() -> None:
    source = ShippedFaces(n=1000)
    for index in (0, 499, 999):
        generated = generate_pixels(12000 + index).astype(int)
        assert np.abs(generated - source.pixels(index)).max() <= 1  # another machine may round another way


def test_beyond_the_shipped_faces_the_test_split_goes_on_by_seed() -> None:
    source = ShippedFaces(n=2000)
    assert source.keys[1999] == "open/test/13999"
    assert np.array_equal(source.pixels(1000), generate_pixels(13000))


def test_a_batch_gives_the_faces_asked_for_in_that_order() -> None:
    source = ShippedFaces(n=20)
    x, _ = load_faces(n=20)
    assert torch.equal(source.batch([7, 3, 19]), x[[7, 3, 19]])


def test_the_digest_is_of_the_pixels_alone() -> None:
    source = ShippedFaces(n=3)
    assert source.digest(0) == ShippedFaces(n=1).digest(0)
    assert source.digest(0) != source.digest(1)


def test_the_splits_share_no_face() -> None:
    keys = [
        key for split, n in (("train", 10000), ("val", 2000), ("test", 2000)) for key in ShippedFaces(split, n).keys
    ]
    assert len(set(keys)) == 14000
    assert keys[10000] == "open/val/10000"


def test_the_condition_faces_are_the_first_16_of_validation() -> None:
    x, keys = condition_faces()
    validation, validation_keys = load_faces("val", 16)
    assert keys == validation_keys
    assert torch.equal(x, validation)


def test_training_faces_go_on_without_end_and_never_enter_validation_or_test() -> None:
    x, keys = training_faces(9998, 4)
    assert keys == ["open/train/9998", "open/train/9999", "open/train/1010000", "open/train/1010001"]
    assert torch.equal(deliver(x), x)
    assert np.abs(generate_pixels(9999).astype(int) - to_bytes(x)[1].numpy()).max() <= 1
    assert training_latents(9998, 4).shape == (4, 100)


def test_a_collage_has_another_face_in_the_middle_alone() -> None:
    z = shipped.training_latents(0, 4)
    x = shipped.training_faces(0, 4)[0]
    others = torch.tensor([1, 2, 3, 0])
    made = shipped.collage(z, z[others])
    torch.testing.assert_close(deliver(shipped.collage(z, z)), x)
    middle, border = (..., slice(28, 40), slice(26, 38)), (..., slice(0, 8), slice(None))
    assert (made - x[others])[middle].abs().mean() < 0.3 * (made - x)[middle].abs().mean()
    assert (made - x)[border].abs().mean() < 0.3 * (made - x[others])[border].abs().mean()


@pytest.mark.parametrize(
    ("split", "n", "said"),
    [
        ("test", 2001, "asked for 2001 faces of split 'test', which has 1 to 2000"),
        ("test", 0, "asked for 0 faces"),
        ("holdout", 5, "no split 'holdout'.*train, val, test"),
    ],
)
def test_what_cannot_be_given_is_one_clear_sentence(split: str, n: int, said: str) -> None:
    with pytest.raises(ArsbenchError, match=said):
        load_faces(split, n)


@pytest.mark.parametrize("harm", ["truncated", "one bit", "missing", "no card", "bad card"])
def test_damaged_shipped_faces_are_refused(tmp_path: Path, harm: str) -> None:
    for name in ("faces_open.npz", "faces_open.json"):
        shutil.copy(SHIPPED / name, tmp_path / name)
    path, card = tmp_path / "faces_open.npz", tmp_path / "faces_open.json"
    data = path.read_bytes()
    if harm == "truncated":
        path.write_bytes(data[:-100])
    elif harm == "one bit":
        path.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    elif harm == "bad card":
        card.write_text("{}")
    else:
        (path if harm == "missing" else card).unlink()
    with pytest.raises(ArsbenchError, match="install arsbench again"):
        read_shipped(tmp_path)


def test_the_card_holds_the_files_hash() -> None:
    card = json.loads((SHIPPED / "faces_open.json").read_text())
    assert card["sha256"] == hashlib.sha256((SHIPPED / "faces_open.npz").read_bytes()).hexdigest()


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_the_encoding_loses_nothing(pixels: Pixels) -> None:
    assert np.array_equal(decode_pixels(encode_pixels(pixels)), pixels)


# --- a folder: pictures of every kind -------------------------------------------------------------------------------


def only(folder: Path, size: int = 16) -> Pixels:
    """The pixels of the one picture in a folder."""
    source = FolderFaces(folder, size)
    assert len(source) == 1
    return to_bytes(source.batch([0]))[0].numpy()


def png_16_bit(path: Path, values: np.ndarray, colour: bool) -> None:
    """Writes a 16-bit PNG by hand, grey ``[H, W]`` or RGB ``[H, W, 3]``."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if colour else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_a_plain_picture_of_the_right_size_is_taken_pixel_by_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(only(tmp_path), pixels)


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "RGB"])
def test_16_bits_are_scaled_not_clipped(tmp_path: Path, colour: bool) -> None:
    grey = np.linspace(0, 65535, 256).reshape(16, 16)
    png_16_bit(tmp_path / "deep.png", np.stack([grey] * 3, -1) if colour else grey, colour)
    assert np.abs(only(tmp_path)[..., 1].astype(float) - grey / 257).max() <= 1


def test_float_pictures_are_scaled_from_0_to_1(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 0.5, dtype=np.float32)).save(tmp_path / "float.tiff")
    assert set(only(tmp_path).ravel().tolist()) == {128}


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    red, green, blue = only(tmp_path).reshape(-1, 3).mean(0)
    assert red > 230
    assert max(green, blue) < 40


def test_a_palette_is_looked_up_before_resizing(tmp_path: Path) -> None:
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    picture[:, 16:] = (10, 200, 30)
    Image.fromarray(picture).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    result = only(tmp_path)
    assert result[8, 0].tolist() == [0, 0, 0]
    assert np.abs(result[8, 15].astype(int) - (10, 200, 30)).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_laid_over_white(tmp_path: Path, mode: str) -> None:
    if mode == "P":
        image = Image.new("P", (16, 16), 0)
        image.putpalette([0, 0, 0, 255, 0, 0])
        image.save(tmp_path / "t.png", transparency=0)
    else:
        Image.new(mode, (16, 16), (0, 0, 0, 0) if mode == "RGBA" else (0, 0)).save(tmp_path / "t.png")
    assert set(only(tmp_path).ravel().tolist()) == {255}


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_black_and_white_pictures_have_three_equal_channels(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (16, 16), 255).save(tmp_path / "grey.png")
    assert set(only(tmp_path).ravel().tolist()) == {255}


def test_the_exif_orientation_is_honoured(tmp_path: Path) -> None:
    picture = np.zeros((16, 16, 3), dtype=np.uint8)
    picture[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show it
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(only(tmp_path), np.rot90(picture, -1))


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (10, 20, 30)).save(tmp_path / "dot.png")
    assert np.array_equal(only(tmp_path), np.full((16, 16, 3), (10, 20, 30)))


def test_the_shorter_side_is_resized_and_the_centre_cropped(tmp_path: Path) -> None:
    picture = np.zeros((32, 96, 3), dtype=np.uint8)
    picture[:, 32:64] = 200
    Image.fromarray(picture).save(tmp_path / "wide.png")
    whole = np.asarray(Image.fromarray(picture).resize((48, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(only(tmp_path), whole[:, 16:32])


def test_resizing_averages_what_it_leaves_out(tmp_path: Path) -> None:
    checks = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "checks.png")
    inside = only(tmp_path)[2:-2, 2:-2]
    assert 120 <= inside.min() <= inside.max() <= 135


# --- a folder: files that are none, and the list --------------------------------------------------------------------


def picture_bytes(folder: Path) -> bytes:
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / "whole.png")
    return (folder / "whole.png").read_bytes()


@pytest.fixture
def mixed_folder(tmp_path: Path) -> Path:
    data = picture_bytes(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_files_that_are_no_pictures_stop_the_run_and_all_are_named(mixed_folder: Path) -> None:
    with pytest.raises(ArsbenchError, match=r"3 file.*broken/cut.png, empty.jpg \(is empty; .*notes.txt.*--skip-bad"):
        FolderFaces(mixed_folder, 64)


def test_skip_bad_leaves_them_out_and_says_which(mixed_folder: Path) -> None:
    source = FolderFaces(mixed_folder, 64, skip_bad=True)
    assert source.keys == ["whole.png"]
    assert source.skipped == ["broken/cut.png", "empty.jpg", "notes.txt"]


def test_a_decompression_bomb_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture_bytes(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ArsbenchError, match=r"whole\.png"):
        FolderFaces(tmp_path, 64)


@pytest.mark.parametrize("content", ["nothing", "hidden", "only bad"])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, content: str) -> None:
    if content == "hidden":
        (tmp_path / ".DS_Store").write_bytes(b"x")
        (tmp_path / "Thumbs.db").write_bytes(b"x")
    if content == "only bad":
        (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ArsbenchError, match="no readable pictures"):
        FolderFaces(tmp_path, 64, skip_bad=True)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArsbenchError, match="there is no folder"):
        FolderFaces(tmp_path / "missing", 64)
    with pytest.raises(ArsbenchError, match="at least one"):
        FolderFaces(tmp_path, 64, n=0)


def test_keys_are_sorted_paths_and_n_takes_the_first(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("c.png", "b/z.png", "b/a.png", "a.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert FolderFaces(tmp_path, 64).keys == ["a.png", "b/a.png", "b/z.png", "c.png"]
    assert FolderFaces(tmp_path, 64, n=2).keys == ["a.png", "b/a.png"]


def test_the_digest_of_a_picture_is_that_of_its_delivered_pixels(tmp_path: Path) -> None:
    x, _ = load_faces(n=1)
    Image.fromarray(to_bytes(x)[0].numpy()).save(tmp_path / "face.png")
    source = FolderFaces(tmp_path, 64)
    assert source.digest(0) == ShippedFaces(n=1).digest(0)
    assert torch.equal(source.batch([0]), x)
    assert torch.equal(from_bytes(torch.from_numpy(source.pixels(0).copy())), x[0])


def test_a_picture_that_breaks_during_the_run_is_named(tmp_path: Path) -> None:
    data = picture_bytes(tmp_path)
    source = FolderFaces(tmp_path, 64)
    (tmp_path / "whole.png").write_bytes(data[:100])
    with pytest.raises(ArsbenchError, match=r"whole\.png cannot be read"):
        source.batch([0])
