"""The fakes that ship for people who write methods."""

from __future__ import annotations

import torch

import arsbench
from arsbench.protectors.pgd import PGD
from arsbench.testing import FakeManipulator, pictures


def test_a_protector_can_be_tried_on_a_manipulator_of_one_function():
    x, keys = pictures(2, 32)
    x_p = PGD(FakeManipulator(lambda x: 2 * x), epsilon=0.1).protect(x, keys)
    assert 0.09 < float((x_p - x).abs().max()) <= 0.1 + 1e-6


def test_pictures_are_the_same_at_each_call_whatever_their_number():
    few, keys = pictures(2)
    many, more = pictures(5)
    assert torch.equal(many[:2], few)
    assert more[:2] == keys
    assert float(few.abs().max()) <= 1


def test_a_run_takes_a_fake_as_a_class():
    rows = arsbench.run("noise", FakeManipulator, "jpeg", 1, images=2, cache=False)
    assert set(rows["manipulator"]) == {"fake"}
