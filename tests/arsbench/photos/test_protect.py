"""``arsbench protect`` and ``arsbench.protect``: quick with tiny methods, slow with the shipped ones on 12 photos."""

from __future__ import annotations

import dataclasses
import inspect
import json

import numpy as np
import pytest
from PIL import Image

import arsbench
from arsbench.cli import execute_command
from arsbench.cli.protect import protect as command
from arsbench.contracts import ArsbenchError
from arsbench.photos.protect import Wanted
from arsbench.photos.verify import PROCESSINGS
from tests.arsbench.photos import twelve_photos

BOX = "150,100,406,356"


@pytest.fixture
def quick(fake):
    """Options of a protection that takes a moment."""
    return ["--protector", fake("Push"), "--manipulator", fake("Mirror"), "--faces", BOX]


@pytest.fixture
def photo(tmp_path):
    return twelve_photos.make("web.webp", tmp_path / "web.webp")


@pytest.fixture
def cli(capsys):
    def call(*arguments):
        code = execute_command(["protect", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_photo_is_written_with_its_page_and_the_original_is_left_alone(cli, quick, photo, tmp_path):
    before = photo.read_bytes()
    _, out, _ = cli(photo, *quick, "--out", tmp_path / "out")
    assert photo.read_bytes() == before
    page = (tmp_path / "out" / "web.webp.html").read_text()
    for said in ("560 x 460 pixels, mode RGB", "bytes before", "of 255 at most, epsilon is 25.5"):
        assert said in out
        assert said.split(",")[0] in page
    assert all(name in page for name in PROCESSINGS)
    assert page.count("data:image/png;base64,") == 4
    assert "the world's forgers" in out
    assert "the world&#39;s forgers" in page


def test_json_holds_every_verdict_and_a_failing_photo_does_not_stop_the_others(cli, quick, photo, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")
    code, out, err = cli(broken, photo, *quick, "--out", tmp_path / "out", "--json")
    document = json.loads(out)
    assert code == 2
    assert "broken.jpg" in err
    assert len(document["photos"]) == len(document["failed"]) == 1
    (found,) = document["photos"]
    assert found["changed"] <= 25
    assert [v["processing"] for v in found["verdicts"]] == list(PROCESSINGS)


def test_the_exit_code_tells_whether_a_manipulator_still_works(cli, fake, photo, tmp_path):
    common = (photo, "--faces", BOX, "--protector", fake("Push"), "--manipulator")
    weak, _, _ = cli(*common, fake("Mirror"), "--out", tmp_path / "a")
    strong, _, _ = cli(*common, fake("Loud"), "--epsilon", 1.0, "--out", tmp_path / "b")
    assert (weak, strong) == (1, 0)


def test_nothing_is_overwritten_and_nothing_protected_twice(cli, quick, photo, tmp_path):
    out = tmp_path / "out"
    cli(photo, *quick, "--out", out)
    first = (out / "web.webp").read_bytes()
    code, _, err = cli(photo, *quick, "--out", out)
    assert (code, "overwrites nothing" in err) == (2, True)
    code, _, err = cli(out / "web.webp", *quick, "--out", tmp_path / "twice")
    assert (code, "--again" in err) == (2, True)
    code, _, _ = cli(out / "web.webp", *quick, "--out", tmp_path / "twice", "--again")
    assert code in (0, 1)
    assert (out / "web.webp").read_bytes() == first


def test_a_folder_is_protected_with_its_folders(cli, quick, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    twelve_photos.make("web.webp", tmp_path / "in" / "a.webp")
    twelve_photos.make("grey.jpg", tmp_path / "in" / "sub" / "b.jpg")
    (tmp_path / "in" / "film.mov").write_bytes(b"no photo")
    code, _, err = cli(tmp_path / "in", *quick, "--out", tmp_path / "out", "--no-verify")
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["a.webp", "sub/b.jpg"]
    assert (code, "1 other files" in err) == (0, True)
    (tmp_path / "out" / "a.webp").unlink()
    code, out, err = cli(tmp_path / "in", *quick, "--out", tmp_path / "out", "--no-verify")
    assert (code, out.count(" -> "), "1 photos of a folder" in err) == (0, 1, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--faces", "all"], "no face was found"),
        (["--epsilon", "3"], "epsilon is 3"),
        (["--protector", "nobody"], "nobody"),
        (["--manipulator", "nobody"], "nobody"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(cli, tmp_path, arguments, sentence):
    field = tmp_path / "field.png"
    twelve_photos.background(200, 150, 0).save(field)
    code, _, err = cli(field, *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_python_gives_back_what_it_was_given(fake):
    options = {"protector": fake("Push"), "manipulator": fake("Mirror"), "faces": BOX, "strength": "low"}
    image = twelve_photos.with_face(560, 460, (1, 150, 100, 256))
    image.info["exif"], image.info["icc_profile"] = twelve_photos.metadata(3).tobytes(), b"a profile"
    protected = arsbench.protect(image, **options)
    assert isinstance(protected, Image.Image)
    assert (protected.size, protected.mode) == (image.size, "RGB")
    assert protected.info["icc_profile"] == b"a profile"
    assert protected.getexif()[0x0112] == 3
    assert not protected.getexif().get_ifd(0x8825)
    pixels = np.asarray(image)
    change = np.abs(np.asarray(protected).astype(int) - pixels)
    assert 0 < change.max() <= 12
    # Upside down, the face's box is where people see it.
    assert change[:100].max() == 0
    with pytest.raises(ArsbenchError, match="protected before"):
        arsbench.protect(protected, **options)
    upright = np.array(twelve_photos.with_face(560, 460, (1, 150, 100, 256)))
    before = upright.copy()
    array = arsbench.protect(upright, **options)
    assert (array.dtype, array.shape) == (np.uint8, upright.shape)
    assert 0 < np.abs(array.astype(int) - upright).max() <= 12
    assert np.array_equal(upright, before)


@pytest.mark.parametrize("image", [np.zeros((3, 64, 64), np.uint8), np.zeros((64, 64, 3), np.float32), "a.jpg"])
def test_python_refuses_what_is_no_picture(image, fake):
    with pytest.raises(ArsbenchError, match="give a PIL image"):
        arsbench.protect(image, fake("Push"), fake("Mirror"), faces="none")


def test_the_command_and_python_have_the_same_defaults():
    context = command.make_context("protect", ["photo.jpg"])
    shared = {field.name: field.default for field in dataclasses.fields(Wanted) if field.name in context.params}
    assert {"protector", "strength", "faces", "format", "keep_location", "seed"} <= shared.keys()
    assert {name: context.params[name] for name in shared} == shared
    for name, parameter in inspect.signature(arsbench.protect).parameters.items():
        if name != "image":
            assert parameter.default == getattr(Wanted(), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(twelve_photos.FACE_BOXES))
def test_at_high_strength_three_of_four_manipulators_are_changed_and_two_after_jpeg(name, tmp_path, capsys):
    source = twelve_photos.make(name, tmp_path / name)
    faces = twelve_photos.FACE_BOXES[name]
    execute_command(
        ["protect", str(source), "--strength", "high", "--faces", faces, "--out", str(tmp_path / "out"), "--json"]
    )
    (found,) = json.loads(capsys.readouterr().out)["photos"]
    with Image.open(source) as before, Image.open(found["path"]) as after:
        assert (after.size, after.mode) == (before.size, before.mode)
        top = 65535 if after.mode == "I;16" else 255
        a, b = (np.asarray(image).astype(np.int64) for image in (before, after))
    assert np.abs(a - b).max() <= np.floor(0.15 * top)
    for face in range(len(found["boxes"])):
        held = {
            processing: sum(
                v["changed"] for v in found["verdicts"] if (v["face"], v["processing"]) == (face, processing)
            )
            for processing in PROCESSINGS
        }
        assert held["as written"] >= 3
        assert held["JPEG 75"] >= 2
