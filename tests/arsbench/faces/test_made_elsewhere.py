from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import arsbench
from arsbench import registry
from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import from_bytes, to_bytes
from arsbench.faces.export import export
from arsbench.faces.lossless import check_names, picture_name, read_exact, write_exact
from arsbench.faces.shipped import ShippedFaces
from arsbench.running.loading import make_protector


@pytest.fixture
def pictures(tmp_path):
    """Two faces, exported and made a little brighter."""
    folder = tmp_path / "their pictures"
    for path in export(ShippedFaces("test", 2), folder):
        x = from_bytes(torch.from_numpy(read_exact(path, 64).copy()))
        write_exact(path, to_bytes(x + 0.2).numpy())
    return folder


def test_exported_faces_are_the_faces_exactly(tmp_path):
    source = ShippedFaces("test", 3)
    paths = export(source, tmp_path / "faces")
    assert [path.name for path in paths] == [f"open-test-1200{i}.png" for i in range(3)]
    for index, path in enumerate(paths):
        assert np.array_equal(read_exact(path, 64), source.pixels(index))


def test_faces_are_not_exported_into_a_folder_with_other_files(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(ArsbenchError, match=r"holiday\.jpg"):
        export(ShippedFaces("test", 1), tmp_path)


def test_two_images_that_would_share_a_file_are_refused():
    assert picture_name("open/test/1") == "open-test-1.png"
    with pytest.raises(ArsbenchError, match="'a/b' and 'a-b'"):
        check_names(["a/b", "a-b"])


def test_the_pictures_come_back_by_name(pictures):
    method = registry.find("protector", f"folder:{pictures}")
    assert method.name == "their-pictures"
    x, keys = arsbench.load_faces(n=2)
    model = arsbench.load_manipulator("psp-recon")
    x_p = make_protector(method, model, 0.3).protect(x.flip(0), keys[::-1])
    assert torch.allclose(x_p, (x + 0.2).clamp(-1, 1).flip(0), atol=1.01 / 255)


def test_a_folder_of_a_manipulator_is_against_that_one(pictures):
    (pictures / "psp-mix").mkdir()
    x, keys = arsbench.load_faces(n=1)
    write_exact(pictures / "psp-mix" / picture_name(keys[0]), to_bytes(x[0]).numpy())
    method = registry.find("protector", f"folder:{pictures}")
    against = {n: make_protector(method, arsbench.load_manipulator(n), 0.3) for n in ("psp-mix", "psp-recon")}
    assert torch.equal(against["psp-mix"].protect(x, keys), x)
    assert not torch.equal(against["psp-recon"].protect(x, keys), x)


def test_a_changed_picture_is_another_method(pictures):
    before = registry.find("protector", f"folder:{pictures}").source
    assert registry.find("protector", f"folder:{pictures}").source == before
    path = next(pictures.glob("*.png"))
    pixels = read_exact(path, 64).copy()
    pixels[0, 0, 0] ^= 1
    write_exact(path, pixels)
    assert registry.find("protector", f"folder:{pictures}").source != before


def test_pictures_are_audited_as_any_others(pictures, small):
    for path in pictures.glob("*.png"):
        write_exact(path, 255 - read_exact(path, 64))
    with pytest.warns(UserWarning, match="protector 'their-pictures' changed image .* over its budget"):
        rows = arsbench.run(**{**small, "protector": f"folder:{pictures}", "images": 2})
    assert "their-pictures" not in set(rows["protector"])


def test_a_run_takes_a_folder_in_a_comma_list(pictures, small):
    rows = arsbench.run(**{**small, "protector": f"folder:{pictures},brighten", "images": 2})
    assert {"their-pictures", "brighten"} <= set(rows["protector"])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: Image.open(path).resize((32, 32)).save(path), "32 x 32"),
        (lambda path: Image.open(path).convert("L").save(path), "64 x 64 L"),
        (lambda path: Image.open(path).save(path, format="JPEG"), "cannot be read as PNG"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "cannot be read as PNG"),
    ],
)
def test_what_is_no_lossless_picture_of_the_size_is_refused(pictures, spoil, said):
    x, keys = arsbench.load_faces(n=2)
    method = registry.find("protector", f"folder:{pictures}")
    spoil(pictures / picture_name(keys[1]))
    with pytest.raises(ArsbenchError, match=said):
        make_protector(method, arsbench.load_manipulator("psp-recon"), 0.3).protect(x, keys)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("folder", "give folder:DIR"),
        ("folder:nowhere", "there is no folder nowhere"),
        ("pgd:7", "'pgd' takes no argument"),
    ],
)
def test_what_names_no_pictures(given, said):
    with pytest.raises(ArsbenchError, match=said):
        make_protector(registry.find("protector", given), arsbench.load_manipulator("psp-recon"), 0.3)


def test_a_manifest_finds_the_folder_again(pictures):
    method = registry.find("protector", f"folder:{pictures}")
    again = registry.found_again("protector", method.name, method.origin)
    assert registry.find("protector", again).source == method.source
