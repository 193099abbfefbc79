"""What methods that take protections off are trained on."""

from __future__ import annotations

import pytest
import torch

from arsbench.faces.delivery import TOLERANCE, deliver
from arsbench.faces.shipped import training_faces
from arsbench.training import protections
from arsbench.training.protections import Protections

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _two_of_each(monkeypatch):
    monkeypatch.setattr(protections, "PROTECTORS", ("noise", "fgsm"))
    monkeypatch.setattr(protections, "MANIPULATORS", ("psp-recon", "simswap"))


def test_each_protector_meets_each_manipulator_once_in_an_order_that_is_the_same_each_time():
    made = Protections("open", CPU, 0.3)
    assert len(made) == 4
    assert sorted(made.combinations) == sorted((p, m) for p in ("noise", "fgsm") for m in ("psp-recon", "simswap"))
    assert made.combinations == Protections("open", CPU, 0.3).combinations


def test_pictures_are_delivered_within_the_budget_and_come_again_after_all_numbers():
    x, keys = training_faces(0, 2)
    made = Protections("open", CPU, 0.2)
    pictures = [made(x, keys, number) for number in range(len(made) + 1)]
    for x_p in pictures:
        assert torch.equal(deliver(x_p), x_p)
        assert not x_p.requires_grad
        assert 0.15 < float((x_p - x).abs().max()) <= 0.2 + TOLERANCE
    assert torch.equal(pictures[0], pictures[-1])
    # Noise asks no manipulator, the attack does.
    assert len({x_p.numpy().tobytes() for x_p in pictures}) == 3
