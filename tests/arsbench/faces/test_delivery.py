"""Delivery and the audit of what a protector returns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import audit, deliver, from_bytes, other_range, to_bytes

EPSILON = 0.3
KEYS = ["first.png", "second.png"]


def faces() -> Tensor:
    return deliver(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6)


def test_delivery_is_rounding_to_the_256_values_of_a_file() -> None:
    x = torch.tensor([-2.0, -1.0, -0.999, 0.0, 0.0039, 0.5, 1.0, 3.0])
    expected = np.round((np.clip(x.numpy(), -1, 1) + 1) * 127.5) / 127.5 - 1
    np.testing.assert_allclose(deliver(x).numpy(), expected, atol=1e-7)


def test_every_8_bit_picture_is_delivered_unchanged() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert torch.equal(deliver(from_bytes(pixels)), from_bytes(pixels))
    assert torch.equal(to_bytes(from_bytes(pixels)), pixels)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=50))
def test_delivery_is_idempotent_and_within_half_a_step(values: list[float]) -> None:
    x = torch.tensor(values)
    once = deliver(x)
    assert torch.equal(deliver(once), once)
    assert float((once - x.clamp(-1, 1)).abs().max()) <= 0.5 / 127.5 + 1e-6


def test_a_change_of_exactly_epsilon_passes_and_comes_back_delivered() -> None:
    x = faces()
    assert torch.equal(audit(x, x + EPSILON, EPSILON, "mine", KEYS), deliver(x + EPSILON))


def test_over_budget_names_protector_image_and_size() -> None:
    x = faces()
    x_p = x.clone()
    x_p[1, 0, 3, 3] += EPSILON + 3 / 255
    with pytest.raises(ArsbenchError, match=r"'mine' changed image 'second.png' by 0.31.*0\.3;"):
        audit(x, x_p, EPSILON, "mine", KEYS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_rounding_would_hide_are_found(value: float) -> None:
    x_p = faces()
    x_p[1, 2, 0, 0] = value
    with pytest.raises(ArsbenchError, match=r"'mine' returned NaN or infinite values for image 'second.png'"):
        audit(faces(), x_p, 3.0, "mine", KEYS)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (faces()[:1], r"shape \[1, 3, 8, 8\]"),
        (faces()[0], r"shape \[3, 8, 8\]"),
        (faces().double(), "float64"),
        (to_bytes(faces()).movedim(-1, -3), "uint8"),
        (faces().to_sparse(), "a sparse tensor"),
        (faces().to("meta"), "a tensor without values"),
        (faces().numpy(), "ndarray"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_picture_is_one_clear_sentence(returned: object, said: str) -> None:
    with pytest.raises(ArsbenchError, match=rf"protector 'mine' returned {said}.*image 'first.png'.*protect\(\) must"):
        audit(faces(), returned, EPSILON, "mine", KEYS)


def test_a_control_without_a_budget_is_audited_for_everything_else() -> None:
    assert torch.equal(audit(faces(), -faces(), float("nan"), "white", KEYS), deliver(-faces()))


def test_a_pictures_gradient_is_left_behind() -> None:
    assert not audit(faces(), faces().requires_grad_(), EPSILON, "mine", KEYS).requires_grad


@pytest.mark.parametrize(("top", "looks"), [(1, "[0, 1]"), (255, "[0, 255]")])
def test_a_protector_that_returns_another_range_is_told_which(top: int, looks: str) -> None:
    x = faces()
    with pytest.raises(ArsbenchError) as caught:
        audit(x, (x + 1) / 2 * top, EPSILON, "mine", KEYS)
    assert "over its budget" in str(caught.value)
    assert f"its output looks like {looks}, where pictures are in [-1, 1]" in str(caught.value)


@pytest.mark.parametrize("change", [lambda x: x + 1.2, lambda x: torch.ones_like(x), lambda x: x.abs(), lambda x: -x])
def test_what_only_goes_over_its_budget_is_not_taken_for_another_range(change) -> None:
    assert other_range(change(faces()).clamp(-1, 1), faces()) is None
