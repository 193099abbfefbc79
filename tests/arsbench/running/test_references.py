from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors.torch import save

from arsbench.running.references import ReferenceCache, default_folder

CELL, OTHER = "aa" + "0" * 30, "bb" + "0" * 30
KEYS = ["one", "two"]
SHAPE = (3, 2, 2)
VALUES = torch.arange(24, dtype=torch.float32).reshape(2, *SHAPE)


@pytest.fixture
def cache(tmp_path):
    made = ReferenceCache(tmp_path / "references")
    made.save(CELL, KEYS, VALUES)
    return made


def shards(cache):
    return sorted(cache.folder.rglob("*.*"))


def again(cache):
    return ReferenceCache(cache.folder)


def test_gives_back_what_it_was_given(cache):
    assert torch.equal(cache.load(CELL, KEYS, SHAPE), VALUES)


def test_a_batch_is_one_file(cache):
    assert len(shards(cache)) == 1


def test_other_batches_find_the_same_pictures(cache):
    cache.save(CELL, ["three"], VALUES[:1] + 1)
    found = again(cache).load(CELL, ["three", "two"], SHAPE)
    assert torch.equal(found, torch.stack([VALUES[0] + 1, VALUES[1]]))


def test_one_missing_picture_is_a_miss(cache):
    assert again(cache).load(CELL, [KEYS[0], "three"], SHAPE) is None


def test_another_cell_is_a_miss(cache):
    assert cache.load(OTHER, KEYS, SHAPE) is None


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 16, b"\x02" + b"\0" * 7 + b"[]"])
def test_a_damaged_shard_is_a_miss_and_hides_no_other(cache, content):
    shards(cache)[0].write_bytes(content)
    assert again(cache).load(CELL, KEYS, SHAPE) is None
    cache.save(CELL, ["three", *KEYS], VALUES[[0, 0, 1]])
    assert torch.equal(again(cache).load(CELL, KEYS, SHAPE), VALUES)


@pytest.mark.parametrize(
    ("pictures", "keys"),
    [
        (VALUES.double(), json.dumps(KEYS)),
        (VALUES[:, :, :1], json.dumps(KEYS)),
        (VALUES[:1], json.dumps(KEYS)),
        (VALUES * torch.tensor([torch.nan, 1]).view(2, 1, 1, 1), json.dumps(KEYS)),
        (VALUES, json.dumps("onetwo")),
        (VALUES, "one"),
    ],
    ids=["dtype", "shape", "count", "nan", "no list", "no json"],
)
def test_a_shard_of_another_kind_is_a_miss_and_hides_no_other(cache, pictures, keys):
    shards(cache)[0].write_bytes(save({"pictures": pictures.contiguous()}, {"keys": keys}))
    assert again(cache).load(CELL, KEYS, SHAPE) is None
    cache.save(CELL, ["three", *KEYS], VALUES[[0, 0, 1]])
    assert torch.equal(again(cache).load(CELL, KEYS, SHAPE), VALUES)


def test_a_shard_of_an_earlier_version_is_a_miss_and_is_replaced(cache):
    shards(cache)[0].write_bytes(save(dict(zip(KEYS, VALUES.clone(), strict=True))))
    assert cache.load(CELL, KEYS, SHAPE) is None
    cache.save(CELL, KEYS, VALUES)
    assert torch.equal(cache.load(CELL, KEYS, SHAPE), VALUES)
    assert len(shards(cache)) == 1


def test_an_image_may_be_there_twice(cache):
    cache.save(OTHER, ["one", "one"], VALUES[[0, 0]])
    assert torch.equal(cache.load(OTHER, ["one", "one"], SHAPE), VALUES[[0, 0]])
    assert torch.equal(again(cache).load(CELL, ["two", "two", "one"], SHAPE), VALUES[[1, 1, 0]])


def test_an_unwritable_folder_is_noted_once(tmp_path):
    (tmp_path / "file").write_text("")
    cache = ReferenceCache(tmp_path / "file" / "references")
    cache.save(CELL, KEYS, VALUES)
    cache.save(CELL, KEYS, VALUES)
    assert len(cache.notes) == 1


def test_without_a_folder_nothing_is_kept():
    cache = ReferenceCache(None)
    cache.save(CELL, KEYS, VALUES)
    assert cache.load(CELL, KEYS, SHAPE) is None


def test_read_only_writes_nothing(tmp_path):
    ReferenceCache(tmp_path / "references", writable=False).save(CELL, KEYS, VALUES)
    assert not (tmp_path / "references").exists()


def test_what_was_used_longest_ago_goes_first(cache):
    first = shards(cache)[0]
    os.utime(first, (1, 1))
    cache.save(OTHER, KEYS, VALUES)
    cache.limit = 300
    cache.trim()
    assert not first.exists()
    assert torch.equal(cache.load(OTHER, KEYS, SHAPE), VALUES)


def test_entries_of_earlier_versions_go_first(cache):
    old = cache.folder / "aa" / f"{KEYS[0]}.npy"
    old.write_bytes(b"0" * 100)
    os.utime(old, (1, 1))
    cache.limit = 300
    cache.trim()
    assert not old.exists()
    assert cache.load(CELL, KEYS, SHAPE) is not None


def test_the_folder_follows_the_environment(own_cache):
    assert default_folder() == own_cache
