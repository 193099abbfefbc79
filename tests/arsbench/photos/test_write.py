"""What is written keeps all that is a photo's own; quick, with noise that nobody had to compute."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from arsbench.contracts import ArsbenchError
from arsbench.photos.metadata import is_protected
from arsbench.photos.picture import read_photo, take
from arsbench.photos.write import (
    add_noise,
    change_between,
    check_written,
    choose_format,
    encode,
    largest_change,
    output_name,
    write_new,
)
from tests.arsbench.photos import twelve_photos

EPSILON = 0.3
LIMIT = 38
"""floor(0.3 * 127.5) levels of 255."""
MARK = "arsbench protect (test)"
SMALL = sorted(name for name in twelve_photos.FACE_BOXES if name != "large.jpg")


def blocks(height, width, seed=0):
    """Noise of large blocks at +- epsilon in the upper left half, as an attack's looks when it is enlarged."""
    draws = np.random.default_rng(seed)
    signs = draws.choice([-EPSILON, EPSILON], (height // 8 + 1, width // 8 + 1, 3))
    noise = signs.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.float32)
    noise[height // 2 :], noise[:, width // 2 :] = 0, 0
    return noise


def protected_file(source, folder, format="same", quality=None, keep_location=False):
    photo = read_photo(source)
    chosen = choose_format(photo, format)
    upright = photo.upright()
    samples = add_noise(photo, blocks(upright.height, upright.width), EPSILON)
    encoded = encode(photo, samples, EPSILON, chosen, quality, keep_location, MARK)
    path = folder / output_name(source, format, chosen)
    write_new(path, encoded.data)
    return photo, path, encoded


@pytest.fixture
def photo_file(tmp_path):
    (tmp_path / "in").mkdir()
    return lambda name: twelve_photos.make(name, tmp_path / "in" / name)


@pytest.mark.parametrize("name", SMALL)
def test_size_mode_alpha_profile_and_orientation_are_kept_and_no_sample_exceeds_epsilon(name, photo_file, tmp_path):
    source = photo_file(name)
    photo, path, encoded = protected_file(source, tmp_path)
    again, changed = check_written(path, photo, encoded, EPSILON)
    with Image.open(source) as before, Image.open(path) as after:
        assert (after.size, after.mode) == (before.size, before.mode)
        assert after.info.get("icc_profile") == before.info.get("icc_profile")
        assert after.getexif().get(0x0112) == before.getexif().get(0x0112)
        top = 65535 if after.mode == "I;16" else 255
        a, b = (np.asarray(image).astype(np.int64) for image in (before, after))
    assert np.abs(a - b).max() <= np.floor(EPSILON / 2 * top)
    assert 0 < changed <= EPSILON * 127.5
    assert is_protected(again)


@pytest.mark.parametrize("name", ["portrait.jpg", "landscape.png", "deep.png", "web.webp"])
def test_exif_is_kept_but_for_the_place(name, photo_file, tmp_path):
    _, path, _ = protected_file(photo_file(name), tmp_path)
    with Image.open(path) as after:
        exif = after.getexif()
        assert exif[0x010F] == twelve_photos.MAKER
        assert exif.get_ifd(0x8769)[0x9003] == twelve_photos.TAKEN
        assert exif.get_ifd(0x8825) == {}
        assert b"GPS" not in path.read_bytes()


def test_the_place_is_kept_on_demand(photo_file, tmp_path):
    _, path, _ = protected_file(photo_file("portrait.jpg"), tmp_path, keep_location=True)
    with Image.open(path) as after:
        assert after.getexif().get_ifd(0x8825)[2] == (52.0, 31.0, 12.0)


def test_no_preview_of_the_unprotected_face_is_left(tmp_path):
    preview = io.BytesIO()
    twelve_photos.with_face(160, 120, (0, 40, 20, 80)).save(preview, "JPEG")
    exif = twelve_photos.metadata()
    exif.get_ifd(0x0001).update({0x0201: 0, 0x0202: len(preview.getvalue())})
    source = tmp_path / "source.jpg"
    data = exif.tobytes() + preview.getvalue()
    twelve_photos.with_face(400, 300, (0, 100, 50, 160)).save(source, exif=data)
    assert preview.getvalue()[:200] in source.read_bytes()
    (tmp_path / "out").mkdir()
    _, path, _ = protected_file(source, tmp_path / "out")
    assert path.read_bytes().count(b"\xff\xd8\xff") == 1


def test_only_the_first_picture_of_a_stereo_file_is_written(photo_file, tmp_path):
    photo, path, encoded = protected_file(photo_file("stereo.mpo"), tmp_path)
    assert encoded.format == "JPEG"
    assert any("2 pictures" in note for note in photo.notes)
    with Image.open(path) as after:
        assert getattr(after, "n_frames", 1) == 1


def test_wholly_transparent_pixels_stay_as_they_are(photo_file, tmp_path):
    source = photo_file("clear.png")
    _, path, _ = protected_file(source, tmp_path)
    with Image.open(source) as before, Image.open(path) as after:
        a, b = np.asarray(before), np.asarray(after)
    assert np.array_equal(a[a[..., 3] == 0], b[a[..., 3] == 0])
    assert not np.array_equal(a, b)


@pytest.mark.parametrize("name", ["landscape.png", "portrait.jpg"])
def test_lossless_files_hold_the_noise_itself(name, photo_file, tmp_path):
    photo, _, encoded = protected_file(photo_file(name), tmp_path, format="png")
    samples = add_noise(photo, blocks(photo.image.height, photo.image.width), EPSILON)
    assert np.array_equal(read_photo(encoded.data).samples(), samples)
    assert encoded.changed == LIMIT


def test_the_noise_of_a_jpeg_file_is_made_smaller_until_what_is_decoded_is_within_epsilon(photo_file, tmp_path):
    photo, _, encoded = protected_file(photo_file("portrait.jpg"), tmp_path)
    decoded = read_photo(encoded.data).samples().astype(int)
    change = np.abs(decoded - photo.samples().astype(int))
    assert change.max() == encoded.changed <= LIMIT
    assert encoded.quality is not None
    assert encoded.quality >= 95
    assert change[: photo.image.height // 4, : photo.image.width // 4].mean() > 25


@pytest.mark.parametrize("name", ["portrait.jpg", "grey.jpg", "inks.jpg", "stereo.mpo"])
def test_a_codec_costs_the_noise_little(name, photo_file, tmp_path):
    photo, _, encoded = protected_file(photo_file(name), tmp_path)
    original = photo.samples().astype(float)
    wanted = add_noise(photo, blocks(photo.upright().height, photo.upright().width), EPSILON) - original
    kept = read_photo(encoded.data).samples() - original
    assert (kept * wanted).sum() > 0.92 * np.square(wanted).sum()


def test_where_the_codec_alone_exceeds_epsilon_the_file_says_against_what_it_was_held(tmp_path):
    source = tmp_path / "grain.png"
    values = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(values).save(source)
    photo, _, encoded = protected_file(source, tmp_path, format="jpeg", quality=20)
    assert encoded.codec > LIMIT
    assert encoded.against == "original as written"
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", quality=20, subsampling="4:4:4")
    as_written = np.asarray(Image.open(buffer)).astype(int)
    assert np.abs(read_photo(encoded.data).samples().astype(int) - as_written).max() <= LIMIT
    assert photo.mode == "RGB"


@pytest.mark.parametrize(("name", "format"), [("clear.png", "jpeg"), ("deep.png", "jpeg"), ("inks.jpg", "png")])
def test_a_format_that_cannot_hold_the_mode_is_refused(name, format, photo_file):
    with pytest.raises(ArsbenchError, match=r"cannot hold .* give --format"):
        choose_format(read_photo(photo_file(name)), format)


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"mine")
    with pytest.raises(ArsbenchError, match="overwrites nothing"):
        write_new(path, b"other")
    assert path.read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def test_a_file_that_was_tampered_with_fails_the_audit(photo_file, tmp_path):
    photo, path, encoded = protected_file(photo_file("landscape.png"), tmp_path)
    with Image.open(path) as image:
        values = np.array(image)
        values[0, 0] = 255 - values[0, 0] // 128 * 255
        Image.fromarray(values).save(path, icc_profile=image.info["icc_profile"], exif=image.getexif())
    with pytest.raises(ArsbenchError, match="budget"):
        check_written(path, photo, encoded, EPSILON)


@pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.3, 1.0])
def test_ink_and_its_colour_on_a_screen_both_stay_within_epsilon(epsilon):
    draws = np.random.default_rng(1)
    photo = take(Image.fromarray(draws.integers(0, 256, (40, 50, 4), dtype=np.uint8), "CMYK"))
    noise = epsilon * draws.uniform(-1, 1, (40, 50, 3)).astype(np.float32)
    after = photo.with_samples(add_noise(photo, noise, epsilon))
    limit = largest_change(epsilon, 255)
    assert change_between(photo.samples(), after.samples(), 255) <= limit
    assert np.array_equal(photo.samples()[..., 3], after.samples()[..., 3])
    a, b = (np.asarray(p.upright()).astype(int) for p in (photo, after))
    assert np.abs(a - b).max() <= limit + 1
    signs = np.sign(b - a) * np.sign(noise)
    assert (signs >= 0).mean() > 0.99


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"]),
    orientation=st.integers(1, 8),
    epsilon=st.floats(0.01, 2),
    seed=st.integers(0, 1000),
)
def test_noise_of_any_size_is_held_to_epsilon_in_every_mode_and_orientation(mode, orientation, epsilon, seed):
    draws = np.random.default_rng(seed)
    if mode == "I;16":
        image = Image.fromarray(draws.integers(0, 65536, (20, 31), dtype=np.uint16))
    elif mode == "F":
        image = Image.fromarray(draws.random((20, 31), dtype=np.float32))
    else:
        n = len(mode)
        values = draws.integers(0, 256, (20, 31, n), dtype=np.uint8)
        image = Image.fromarray(values[..., 0] if n == 1 else values, mode)
    image.info["exif"] = twelve_photos.metadata(orientation).tobytes()
    photo = take(image)
    upright = photo.upright()
    noise = draws.normal(0, 2, (upright.height, upright.width, 3)).astype(np.float32)
    after = photo.with_samples(add_noise(photo, noise, epsilon))
    assert (after.mode, after.image.size) == (mode, image.size)
    assert change_between(photo.samples(), after.samples(), photo.top) <= epsilon * 127.5 + 1e-3
    assert photo.alpha() is None or np.array_equal(photo.alpha(), after.alpha())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_noise_lands_where_people_see_it(orientation):
    image = Image.new("RGB", (40, 24), (100, 100, 100))
    image.info["exif"] = twelve_photos.metadata(orientation).tobytes()
    photo = take(image)
    noise = np.zeros((photo.upright().height, photo.upright().width, 3), np.float32)
    noise[2:6, 3:9] = 0.2
    after = np.asarray(photo.with_samples(add_noise(photo, noise, 0.3)).upright()).astype(int) - 100
    assert np.array_equal(after[..., 0] > 0, noise[..., 0] > 0)


def test_a_tiff_file_keeps_its_metadata(tmp_path):
    source = tmp_path / "scan.tif"
    picture = twelve_photos.with_face(300, 260, (3, 50, 40, 150))
    exif = Image.Exif()
    exif.load(twelve_photos.metadata().tobytes())
    picture.save(source, exif=exif, icc_profile=twelve_photos.profile(), dpi=(300, 300))
    (tmp_path / "out").mkdir()
    photo, path, encoded = protected_file(source, tmp_path / "out")
    again, changed = check_written(path, photo, encoded, EPSILON)
    assert (encoded.format, changed) == ("TIFF", LIMIT)
    exif = again.image.getexif()
    assert exif.get_ifd(0x8769)[0x9003] == twelve_photos.TAKEN
    assert not exif.get_ifd(0x8825)
    assert again.image.info["dpi"] == (300, 300)


def test_a_palette_becomes_colours_and_says_so(tmp_path):
    source = tmp_path / "picture.gif"
    twelve_photos.with_face(300, 260, (3, 50, 40, 150)).save(source)
    (tmp_path / "out").mkdir()
    photo, path, encoded = protected_file(source, tmp_path / "out")
    again, _ = check_written(path, photo, encoded, EPSILON)
    assert (path.name, again.mode, encoded.format) == ("picture.gif.png", "RGB", "PNG")
    assert any("mode P" in note for note in photo.notes)


def test_the_transparent_value_of_deep_grey_is_kept_and_stays_transparent(tmp_path):
    source = tmp_path / "deep.png"
    values = np.random.default_rng(0).integers(0, 65536, (64, 64), dtype=np.uint16)
    values[:20] = 4000
    Image.fromarray(values).save(source, transparency=4000)
    (tmp_path / "out").mkdir()
    _, path, _ = protected_file(source, tmp_path / "out")
    with Image.open(path) as after:
        assert after.info["transparency"] == 4000
        assert np.array_equal(np.asarray(after) == 4000, values == 4000)
        assert not np.array_equal(np.asarray(after), values)


@pytest.mark.parametrize(("data", "said"), [(b"%!PS", "PostScript"), (b"", "cannot be read"), (b"GIF89a", "cannot")])
def test_what_is_no_photo_is_told_in_a_sentence(tmp_path, data, said):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(ArsbenchError, match=said) as error:
        read_photo(path)
    assert "\n" not in str(error.value)
