"""What every manipulator of the open track owes; one that registers is tried without a line here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import arsbench
from arsbench import registry
from arsbench.float64 import has_float64, manipulator_in_float64

each = pytest.mark.parametrize("name", registry.names("manipulator"))


@pytest.fixture(scope="module")
def faces():
    return arsbench.load_faces(n=5)


@pytest.fixture(scope="module")
def model_of():
    """``model_of(name)``, loaded once."""
    loaded = {}
    return lambda name: loaded.setdefault(name, arsbench.load_manipulator(name))


@each
def test_the_output_is_a_picture_of_the_size_given(name, model_of, faces):
    x, keys = faces
    with torch.no_grad():
        y = model_of(name).manipulate(x, keys)
    assert (y.shape, y.dtype) == (x.shape, torch.float32)
    assert bool(y.isfinite().all())


@each
def test_batch_and_order_change_nothing(name, model_of, faces):
    x, keys = faces
    model = model_of(name)
    with torch.no_grad():
        together = model.manipulate(x, keys)
        alone = torch.cat([model.manipulate(x[i : i + 1], keys[i : i + 1]) for i in (3, 0)])
    torch.testing.assert_close(alone, together[[3, 0]], atol=1e-4, rtol=0)


@each
def test_the_same_input_gives_the_same_output(name, model_of, faces):
    x, keys = faces
    with torch.no_grad():
        assert torch.equal(model_of(name).manipulate(x, keys), model_of(name).manipulate(x, keys))


@each
def test_the_condition_follows_the_key_alone(name, model_of, faces):
    _, keys = faces
    conditions = model_of(name).conditions(keys)
    assert model_of(name).conditions(keys[::-1]) == conditions[::-1]
    assert all(isinstance(condition, str) for condition in conditions)


@each
def test_the_gradient_reaches_the_picture_and_no_weight(name, model_of, faces):
    x, keys = faces[0][:2].clone().requires_grad_(), faces[1][:2]
    model_of(name).manipulate(x, keys).square().sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert float(x.grad.abs().sum()) > 0
    networks = [value for value in vars(model_of(name)).values() if isinstance(value, torch.nn.Module)]
    assert networks
    assert all(weight.grad is None for network in networks for weight in network.parameters())


@each
def test_threads_change_nothing_where_they_are_promised(name, model_of, faces):
    x, keys = faces
    model = model_of(name)
    assert vars(type(model))["thread_safe"]

    def output(i):
        with torch.no_grad():
            return model.manipulate(x[i : i + 1], keys[i : i + 1])

    def outputs(workers):
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(output, range(len(x)))))

    assert torch.equal(outputs(2), outputs(1))


@each
def test_its_copy_in_float64_says_the_same(name, model_of, faces):
    x, keys = faces
    model = model_of(name)
    assert has_float64(model)
    with torch.no_grad():
        y, wide = model.manipulate(x, keys), manipulator_in_float64(model).manipulate(x.double(), keys)
    assert (y.dtype, wide.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(wide.float(), y, atol=1e-4, rtol=0)
