"""What every registered protector owes; one that registers is tried without a line here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import arsbench
from arsbench import registry
from arsbench.faces.delivery import TOLERANCE, deliver
from arsbench.protectors.learned import LearnedProtector, weights_folders

EPSILON = 0.2


def is_ready(name):
    """Ablations are trained on demand: without their weights there is nothing to try. Nor without an argument."""
    cls = registry.find("protector", name).cls
    if hasattr(cls, "of"):
        return False
    return not issubclass(cls, LearnedProtector) or any(
        (folder / f"{name}--psp-mix--open.json").is_file() for folder in weights_folders()
    )


def promises_threads(name):
    return vars(registry.find("protector", name).cls).get("thread_safe", False)


NAMES = [name for name in registry.names("protector") if is_ready(name)]
LONG = ("eot_pgd",)
each = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in NAMES]
)


@pytest.fixture(scope="module")
def faces():
    return arsbench.load_faces(n=2)


@pytest.fixture(scope="module")
def model():
    return arsbench.load_manipulator("psp-mix")


@pytest.fixture(scope="module")
def protected(faces, model):
    """``protected(name)`` -> the protector and x_p, made once, one picture at a time as the harness does."""
    made = {}

    def of(name):
        if name not in made:
            protector = arsbench.load_protector(name, model, EPSILON)
            made[name] = protector, one_by_one(protector, *faces)
        return made[name]

    return of


def one_by_one(protector, x, keys):
    return torch.cat([protector.protect(x[i : i + 1].clone(), keys[i : i + 1]) for i in range(len(x))])


@each
def test_shape_range_and_budget_of_what_could_be_uploaded(name, protected, faces):
    x, _ = faces
    _, x_p = protected(name)
    assert (x_p.shape, x_p.dtype) == (x.shape, x.dtype)
    assert float(x_p.abs().max()) <= 1
    assert float((deliver(x_p) - x).abs().max()) <= EPSILON + TOLERANCE


@each
def test_the_picture_given_is_left_as_it_was(name, protected, faces):
    x, keys = faces
    given = x[:1].clone()
    protected(name)[0].protect(given, keys[:1])
    assert torch.equal(given, x[:1])


@each
def test_order_changes_nothing_and_no_generator_is_touched(name, protected, faces):
    x, keys = faces
    protector, x_p = protected(name)
    state = torch.get_rng_state()
    assert torch.equal(one_by_one(protector, x.flip(0), keys[::-1]).flip(0), x_p)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LONG and promises_threads(name)])
def test_threads_change_nothing_where_they_are_promised(name, protected, faces):
    x, keys = faces
    protector, _ = protected(name)
    alone, side_by_side = (in_threads(protector, x, keys, workers) for workers in (1, 2))
    assert torch.equal(side_by_side, alone)


def in_threads(protector, x, keys, workers):
    """As the harness does it: a thread per core, in each of which torch computes alone."""
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        made = pool.map(lambda i: protector.protect(x[i : i + 1].clone(), keys[i : i + 1]), range(len(x)))
        return torch.cat(list(made))
