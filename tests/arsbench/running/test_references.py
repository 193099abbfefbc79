from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from arsbench.running.references import ReferenceCache, default_folder

KEYS = ["aa" + "0" * 30, "bb" + "0" * 30]
SHAPE = (3, 2, 2)
VALUES = torch.arange(24, dtype=torch.float32).reshape(2, *SHAPE)


@pytest.fixture
def cache(tmp_path):
    made = ReferenceCache(tmp_path / "references")
    made.save(KEYS, VALUES)
    return made


def test_gives_back_what_it_was_given(cache):
    assert torch.equal(cache.load(KEYS, SHAPE), VALUES)


def test_one_missing_entry_is_a_miss(cache):
    assert cache.load([KEYS[0], "cc" + "0" * 30], SHAPE) is None


@pytest.mark.parametrize("content", [b"", b"not numpy", b"\x93NUMPY\x01\x00"])
def test_an_unreadable_entry_is_a_miss(cache, content):
    (cache.folder / "aa" / f"{KEYS[0]}.npy").write_bytes(content)
    assert cache.load(KEYS, SHAPE) is None


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(SHAPE, np.float64),
        np.zeros((3, 1, 1), np.float32),
        np.full(SHAPE, np.nan, np.float32),
    ],
)
def test_an_entry_of_another_kind_is_a_miss(cache, array):
    np.save(cache.folder / "aa" / f"{KEYS[0]}.npy", array)
    assert cache.load(KEYS, SHAPE) is None


def test_a_pickle_is_never_loaded(cache):
    np.save(cache.folder / "aa" / f"{KEYS[0]}.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert cache.load(KEYS, SHAPE) is None


def test_an_unwritable_folder_is_noted_once(tmp_path):
    (tmp_path / "file").write_text("")
    cache = ReferenceCache(tmp_path / "file" / "references")
    cache.save(KEYS, VALUES)
    cache.save(KEYS, VALUES)
    assert len(cache.notes) == 1


def test_without_a_folder_nothing_is_kept():
    cache = ReferenceCache(None)
    cache.save(KEYS, VALUES)
    assert cache.load(KEYS, SHAPE) is None


def test_read_only_writes_nothing(tmp_path):
    ReferenceCache(tmp_path / "references", writable=False).save(KEYS, VALUES)
    assert not (tmp_path / "references").exists()


def test_the_oldest_goes_first(cache):
    os.utime(cache.folder / "bb" / f"{KEYS[1]}.npy", (1, 1))
    cache.limit = 200
    cache.trim()
    assert [path.stem for path in cache.folder.glob("??/*.npy")] == [KEYS[0]]


def test_the_folder_follows_the_environment(own_cache):
    assert default_folder() == own_cache
