from __future__ import annotations

import threading

import pytest
import torch

from arsbench.contracts import Manipulator, Protector
from arsbench.errors import ArsbenchError
from arsbench.leaderboard.protecting import delivered

KEYS = ["a", "b", "c"]


class Same(Manipulator):
    name = "same"
    thread_safe = True

    def manipulate(self, x, keys):
        return x


class Steady(Protector):
    """Notes the thread of each call."""

    name = "steady"
    thread_safe = True
    noted: set[str]

    def protect(self, x, keys):
        self.noted.add(threading.current_thread().name)
        return x + 0.1


class Unsafe(Steady):
    """Has not promised that it may be called from threads."""


class Drawing(Steady):
    """Promises threads and draws from the generator that they share."""

    thread_safe = True

    def protect(self, x, keys):
        return x + 0.2 * torch.rand_like(x)


def of(cls, epsilon: float = 0.3):
    protector = cls(Same(torch.device("cpu")))
    protector.noted = set()
    faces = torch.zeros(len(KEYS), 3, 64, 64)
    return delivered(protector, "steady", epsilon, 0, faces, KEYS), protector.noted


def test_a_method_that_allows_it_is_called_in_threads_of_their_own():
    assert all(name.startswith("side by side") for name in of(Steady)[1])


def test_a_method_that_does_not_is_called_in_the_main_thread_and_gives_the_same():
    made, noted = of(Unsafe)
    assert noted == {"MainThread"}
    assert torch.equal(made, of(Steady)[0])


def test_one_that_breaks_its_promise_gets_draws_of_each_image():
    first, second = of(Drawing)[0], of(Drawing)[0]
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_the_budget_is_the_entry_s_whatever_the_method_says():
    with pytest.raises(ArsbenchError, match="budget"):
        of(Steady, epsilon=0.05)
