from __future__ import annotations

import threading

import pytest
import torch

from arsbench.running import side_by_side


def test_results_come_in_order():
    assert side_by_side.each(lambda item: item * 2, range(50)) == [2 * item for item in range(50)]


def test_torch_computes_alone_in_each_thread_and_as_before_elsewhere():
    before = torch.get_num_threads()
    assert set(side_by_side.each(lambda _: torch.get_num_threads(), range(20))) == {1}
    assert torch.get_num_threads() == before


def test_what_had_not_begun_when_one_failed_is_not_computed():
    begun, release = [], threading.Event()

    def work(item):
        begun.append(item)
        if item == 0:
            raise ValueError("the first")
        release.wait(10)

    with pytest.raises(ValueError, match="the first"):
        side_by_side.each(work, range(100))
    release.set()
    side_by_side.each(lambda item: item, range(50))  # all threads are through with the others
    assert len(begun) < 50
