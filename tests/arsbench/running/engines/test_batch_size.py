"""How many images at a time."""

from __future__ import annotations

import pytest

from arsbench.running.engines.batch_size import LARGEST, batch_size, bytes_per_image, fitting
from tests.arsbench.fakes import Mirror


@pytest.mark.parametrize(
    ("room", "each", "at_once"), [(1000, 100, 8), (1600, 100, 16), (99, 100, 1), (10**12, 1, LARGEST)]
)
def test_a_power_of_two_that_fits(room, each, at_once):
    assert fitting(room, each) == at_once


def test_what_an_image_takes_is_told_apart_from_the_weights():
    assert bytes_per_image(lambda n: 10**9 + 300 * n) == 300


@pytest.mark.parametrize(("size", "at_once"), [(64, 64), (256, 4), (1024, 1)])
def test_a_cpu_is_given_fewer_large_pictures(size, at_once):
    assert batch_size(Mirror(), size) == at_once
