"""Protecting a batch: what comes of an image is its own, whatever it is protected with."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arsbench.faces.shipped import load_faces
from arsbench.running import protect as protecting
from arsbench.running import side_by_side
from arsbench.running.plan import Protection
from arsbench.running.protect import group_size, groups_of, protect

X, KEYS = load_faces(n=5)
PUSH, PGD = Protection("push", 0.3), Protection("pgd", 0.3)


@pytest.fixture
def groups_of_four(monkeypatch):
    """A CPU that is given four pictures at a time, as a GPU is given more."""
    monkeypatch.setattr(protecting, "GROUP_PIXELS", {"cpu": 4 * 64 * 64})


@given(st.integers(1, 40), st.integers(1, 9))
def test_groups_have_one_size_and_hold_every_picture_in_order(count, size):
    x = torch.arange(float(count))[:, None, None, None]
    groups = groups_of(x, [str(i) for i in range(count)], size)
    assert {len(pictures) for pictures, _ in groups} == {len(keys) for _, keys in groups} == {size}
    assert torch.equal(torch.cat([pictures for pictures, _ in groups])[:count], x)
    assert [key for _, keys in groups for key in keys][:count] == [str(i) for i in range(count)]
    assert len(groups) == -(-count // size)


def test_a_gpu_is_given_as_many_as_small_cards_hold():
    assert [group_size("cuda", size) for size in (64, 256, 1024)] == [32, 2, 1]
    assert [group_size("cpu", size) for size in (64, 256)] == [1, 1]


@pytest.mark.parametrize("order", [[4, 0, 3, 1, 2], [2, 1, 0, 4, 3]])
@pytest.mark.parametrize("first", [1, 2, 4])
def test_filling_a_group_up_changes_nothing(bench, groups_of_four, order, first):
    made = bench("pgd", manipulator="psp-recon")
    whole = protect(made, PGD, X, KEYS).faces
    for part in (order[:first], order[first:]):
        faces = protect(made, PGD, X[part], [KEYS[i] for i in part]).faces
        assert torch.equal(faces, whole[part])


def test_a_method_is_given_groups_of_one_size(bench, groups_of_four, monkeypatch):
    made, seen = bench("Push"), []
    push = made.protectors[PUSH]
    real = push.protect
    monkeypatch.setattr(push, "protect", lambda x, keys: seen.append(len(x)) or real(x, keys))
    protected = protect(made, PUSH, X, KEYS)
    assert seen == [4, 4]
    assert len(protected.faces) == len(protected.columns["seconds"]) == 5


def test_global_draws_are_those_of_the_image(bench):
    made = bench("GlobalDraws")
    torch.manual_seed(1)
    first = protect(made, Protection("global-draws", 0.3), X, KEYS).faces
    torch.manual_seed(2)
    second = protect(made, Protection("global-draws", 0.3), X[2:], KEYS[2:]).faces
    assert torch.equal(first[2:], second)


def test_protecting_leaves_the_global_generator_alone(bench):
    made = bench("GlobalDraws")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    protect(made, Protection("global-draws", 0.3), X[:1], KEYS[:1])
    assert torch.equal(torch.rand(3), expected)


def test_side_by_side_is_one_after_the_other(bench, monkeypatch):
    made = bench("Threaded", manipulator="ThreadedMirror")
    together = protect(made, Protection("threaded", 0.3), X, KEYS)
    assert made.protectors[Protection("threaded", 0.3)].threads.isdisjoint({threading.main_thread().name})
    assert min(together.columns["seconds"]) > 0
    monkeypatch.setattr(side_by_side, "LARGEST", 0)
    alone = protect(made, Protection("threaded", 0.3), X, KEYS)
    assert torch.equal(together.faces, alone.faces)


@pytest.mark.parametrize(("protector", "manipulator"), [("Threaded", "Mirror"), ("Unpromised", "ThreadedMirror")])
def test_what_promises_nothing_is_protected_in_the_main_thread(bench, protector, manipulator):
    made = bench(protector, manipulator=manipulator)
    name = protector.lower()
    protect(made, Protection(name, 0.3), X, KEYS)
    assert made.protectors[Protection(name, 0.3)].threads == {threading.main_thread().name}
