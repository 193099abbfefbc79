"""The user's copies of the paper track's faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.faces import datasets
from arsbench.faces.datasets import AddedFaces
from arsbench.faces.tracks import conditions_of


@pytest.fixture
def copy(tmp_path):
    """``copy(n)`` -> a folder of ``n`` pictures in subfolders, all different."""

    def make(n, name="copy"):
        for i in range(n):
            path = tmp_path / name / f"{i % 3}" / f"{i:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        return tmp_path / name

    return make


def test_a_small_copy_is_divided_as_the_paper_divides_14000(copy):
    added = datasets.add("ffhq", copy(70))
    assert [len(added.files[split]) for split in ("train", "val", "test")] == [50, 10, 10]
    everything = [path for files in added.files.values() for path in files]
    assert len(set(everything)) == 70


def test_a_large_copy_gives_the_papers_numbers(monkeypatch, copy):
    monkeypatch.setattr(datasets, "SPLITS", {"train": 20, "val": 4, "test": 4})
    added = datasets.add("ffhq", copy(40))
    assert [len(files) for files in added.files.values()] == [20, 4, 4]


def test_two_labs_with_the_same_pictures_have_the_same_splits_and_hash(copy):
    first, second = (datasets.add("ffhq", copy(40, name)) for name in ("here", "there"))
    assert first.folder != second.folder
    assert first.files == second.files
    assert first.sha256 == second.sha256


def test_another_picture_changes_the_hash(copy):
    before = datasets.add("ffhq", copy(40))
    path = before.folder / next(iter(before.files["val"]))
    Image.new("RGB", (20, 24)).save(path)
    assert datasets.add("ffhq", before.folder).sha256 != before.sha256


def test_added_faces_are_those_of_the_paper_track(copy):
    added = datasets.add("vggface2", copy(40))
    x, keys = arsbench.load_faces("paper", n=3)
    assert x.shape == (3, 3, 256, 256)
    assert keys == [f"vggface2/test/{path}" for path in list(added.files["test"])[:3]]


def test_conditions_are_the_first_validation_faces(copy):
    added = datasets.add("ffhq", copy(150))
    x, keys = conditions_of("paper")
    assert keys == [f"ffhq/val/{path}" for path in list(added.files["val"])[:16]]
    assert x.shape == (16, 3, 256, 256)
    torch.testing.assert_close(x, AddedFaces(added, "val", 256, 16).batch(range(16)))


def test_without_a_copy_conditions_are_the_shipped_faces_enlarged():
    x, keys = conditions_of("paper")
    small, wanted = conditions_of("open")
    assert keys == wanted
    assert x.shape == (16, 3, 256, 256)
    torch.testing.assert_close(x.mean((2, 3)), small.mean((2, 3)), atol=0.01, rtol=0)


def test_a_picture_that_changed_or_went_is_named(copy):
    added = datasets.add("ffhq", copy(40))
    path = added.folder / next(iter(added.files["test"]))
    Image.new("RGB", (20, 24)).save(path)
    with pytest.raises(ArsbenchError, match=rf"{path.name} of ffhq has changed since it was added"):
        arsbench.load_faces("paper", n=1)
    path.unlink()
    with pytest.raises(ArsbenchError, match=rf"{path.name} of ffhq is gone"):
        arsbench.load_faces("paper", n=1)


def test_what_cannot_be_added_is_one_sentence(copy, tmp_path):
    with pytest.raises(ArsbenchError, match=r"no dataset 'celeba'.*ffhq, vggface2"):
        datasets.add("celeba", copy(40))
    with pytest.raises(ArsbenchError, match="there is no folder"):
        datasets.add("ffhq", tmp_path / "absent")
    with pytest.raises(ArsbenchError, match="holds 3 files"):
        datasets.add("ffhq", copy(3, "few"))
    (copy(40, "bad") / "0" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ArsbenchError, match=r"broken\.png cannot be read"):
        datasets.add("ffhq", tmp_path / "bad")


def test_the_paper_track_without_a_copy_says_how_to_add_one():
    with pytest.raises(ArsbenchError, match="arsbench data add ffhq DIR"):
        arsbench.load_faces("paper")
