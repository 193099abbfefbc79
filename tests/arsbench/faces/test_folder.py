"""Folders as users have them: links, loops, names in any encoding and Unicode form."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.faces import datasets
from arsbench.faces.datasets import AddedFaces
from arsbench.faces.folder import FolderFaces, list_pictures

NFC = "Zo\u00eb.png"
NFD = unicodedata.normalize("NFD", NFC)


def picture(path: Path, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, colour, colour)).save(path, format="PNG")
    return path


def keys(folder: Path) -> list[str]:
    return list(list_pictures(folder).paths)


def test_a_linked_folder_is_followed(tmp_path):
    picture(tmp_path / "far" / "a.png")
    picture(tmp_path / "faces" / "b.png")
    (tmp_path / "faces" / "more").symlink_to(tmp_path / "far")
    assert FolderFaces(tmp_path / "faces", 8).keys == ["b.png", "more/a.png"]


@pytest.mark.parametrize("back", [".", "..", "sub", "sub/../sub"])
def test_a_link_that_leads_back_ends_there(tmp_path, back):
    picture(tmp_path / "faces" / "sub" / "a.png")
    (tmp_path / "faces" / "sub" / "again").symlink_to(tmp_path / "faces" / back)
    (tmp_path / "faces" / "aaa").symlink_to(tmp_path / "faces" / "sub")
    assert keys(tmp_path / "faces") == ["sub/a.png"]


def test_folders_that_link_to_each_other_end(tmp_path):
    for name in "abcdef":
        picture(tmp_path / name / "p.png")
        for other in "abcdef":
            (tmp_path / name / f"to-{other}").symlink_to(tmp_path / other)
    assert len(keys(tmp_path)) == 6


@pytest.mark.parametrize("target", ["nowhere.png", "link.png"])
def test_a_link_to_nothing_is_named(tmp_path, target):
    picture(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / target)
    with pytest.raises(ArsbenchError, match=r"link\.png \(a link to nothing\)"):
        FolderFaces(tmp_path, 8)
    assert FolderFaces(tmp_path, 8, skip_bad=True).keys == ["a.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_named_before_the_start(tmp_path):
    picture(tmp_path / "a.png")
    os.rename(picture(tmp_path / "b.png"), os.fsencode(tmp_path) + b"/caf\xe9.png")  # noqa: PTH104 - bytes
    with pytest.raises(ArsbenchError, match=r"caf\\xe9\.png \(its name is not UTF-8; rename it\)") as caught:
        FolderFaces(tmp_path, 8)
    str(caught.value).encode()
    assert FolderFaces(tmp_path, 8, skip_bad=True).keys == ["a.png"]


def test_keys_are_of_one_unicode_form_and_the_files_are_found(tmp_path):
    for form, name in (("c", NFC), ("d", NFD)):
        picture(tmp_path / form / name, 7)
    sources = [FolderFaces(tmp_path / form, 8) for form in "cd"]
    assert sources[0].keys == sources[1].keys == [NFC]
    assert np.array_equal(sources[0].pixels(0), sources[1].pixels(0))


def test_two_files_of_one_name_in_two_forms_are_named(tmp_path):
    picture(tmp_path / NFC)
    if os.path.exists(tmp_path / NFD):  # noqa: PTH110
        pytest.skip("this file system takes them for one")
    picture(tmp_path / NFD)
    with pytest.raises(ArsbenchError, match="two files have this name, in two Unicode forms"):
        FolderFaces(tmp_path, 8)


def test_an_added_copy_is_found_whichever_form_its_names_have(tmp_path):
    for i in range(28):
        picture(tmp_path / "copy" / f"{NFD[:-4]}{i:02}.png", i)
    added = datasets.add("ffhq", tmp_path / "copy")
    names = [name for files in added.files.values() for name in files]
    assert all(unicodedata.is_normalized("NFC", name) for name in names)
    assert len(AddedFaces(added, "train", 8, None).batch([0, 1])) == 2
    assert len(arsbench.load_faces("paper", n=2)[1]) == 2


def test_names_with_line_breaks_are_read(tmp_path):
    picture(tmp_path / "a\nb.png")
    assert FolderFaces(tmp_path, 8).keys == ["a\nb.png"]


def test_adding_names_all_that_cannot_be_read_and_its_advice_is_true(tmp_path):
    for i in range(30):
        picture(tmp_path / f"{i:02}.png", i)
    (tmp_path / "LICENSE.txt").write_text("free")
    (tmp_path / "README.md").write_text("read")
    with pytest.raises(ArsbenchError, match=r"LICENSE\.txt, README\.md cannot be read as pictures .*--skip-bad"):
        datasets.add("ffhq", tmp_path)
    added = datasets.add("ffhq", tmp_path, skip_bad=True)
    assert sum(map(len, added.files.values())) == 30
    for name in ("LICENSE.txt", "README.md"):
        (tmp_path / name).unlink()
    assert datasets.add("ffhq", tmp_path).files == added.files
