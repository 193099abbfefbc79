"""ARS: its parts and its shipped weights; its training is tested in test_training.py."""

from __future__ import annotations

import pytest
import torch

import arsbench
from arsbench.contracts import ArsbenchError, Manipulator
from arsbench.draws import generator
from arsbench.protectors.ars import ARS
from arsbench.protectors.networks.ars import ArsNetwork
from arsbench.protectors.networks.bounds import clip
from arsbench.protectors.perturbation_module import (
    OPERATIONS,
    blur,
    dct_basis,
    drop,
    masked_dct,
    perturbation_module,
    resize,
)

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Half(Manipulator):
    name = "half"

    def manipulate(self, x, keys):
        return 0.5 * x.flip(-1)


@pytest.mark.parametrize("bound", ["clip", "tanh"])
def test_both_noises_stay_within_epsilon(bound):
    torch.manual_seed(0)
    network = ArsNetwork(8, 4, bound).eval()
    with torch.no_grad():
        noises = network(X * 50, 0.3)
    assert noises.basic.abs().max() <= 0.3
    assert noises.robust.abs().max() <= 0.3


def test_the_robust_loss_does_not_reach_the_basic_protection():
    torch.manual_seed(0)
    network = ArsNetwork(8, 4, "tanh")
    network(X, 0.3).robust.square().sum().backward()
    assert all(p.grad is None for p in network.f.parameters())
    assert all(p.grad is not None for p in network.g2.parameters())


def test_the_noise_code_is_repeated_over_all_pixels():
    torch.manual_seed(0)
    network = ArsNetwork(8, 4, "tanh").eval()
    seen = []
    network.g2.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(X, 0.3)
    repeated = seen[0][:, 4:8]
    torch.testing.assert_close(repeated, repeated[..., :1, :1].expand_as(repeated))


def test_drop_mixes_in_the_original():
    dropped = drop(X, torch.zeros_like(X), torch.Generator().manual_seed(1))
    kept = (dropped == X).all(1)
    assert dropped[~kept[:, None].expand_as(X)].eq(0).all()
    assert 0.15 < kept.float().mean() < 0.95


def test_the_dct_basis_is_orthonormal():
    basis = dct_basis()
    torch.testing.assert_close(basis @ basis.T, torch.eye(8), atol=1e-6, rtol=0)


def test_masked_dct_keeps_flat_blocks_and_removes_a_checkerboard():
    flat = torch.full((1, 3, 20, 20), 0.3)
    torch.testing.assert_close(masked_dct(flat, flat, torch.Generator().manual_seed(0)), flat)
    at = torch.arange(16)
    board = ((at[:, None] + at[None, :]) % 2 * 2.0 - 1).expand(1, 3, 16, 16)
    assert masked_dct(board, board, torch.Generator().manual_seed(0)).abs().max() < 0.6


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_operations_are_differentiable_and_keep_the_shape(operation):
    x_p = X.clone().requires_grad_(True)
    out = operation(x_p, X, torch.Generator().manual_seed(3))
    assert out.shape == X.shape
    out.square().sum().backward()
    assert x_p.grad is not None
    assert x_p.grad.abs().sum() > 0


@pytest.mark.parametrize("operation", [resize, blur])
def test_resize_and_blur_smooth(operation):
    out = operation(X, X, torch.Generator().manual_seed(3))
    assert out.var() < X.var()


def test_each_operation_is_applied_half_the_time():
    same = sum(torch.equal(perturbation_module(X, X * 0, generator(str(i), "test")), X) for i in range(200))
    assert 3 <= same <= 25  # expected: 200 / 2^4


def test_a_manipulator_without_weights_is_one_sentence_that_says_for_which_there_are():
    with pytest.raises(ArsbenchError, match=r"no weights for manipulator 'half'.*psp-mix.*arsbench train ars"):
        ARS(Half(), 0.3)


def outputs(name, manipulator):
    x, keys = arsbench.load_faces(n=16)
    model = arsbench.load_manipulator(manipulator)
    x_p = arsbench.load_protector(name, model).protect(x, keys)
    assert (x_p - x).abs().max() <= 0.3 + 1e-6
    with torch.no_grad():
        return x, x_p, model.manipulate(x, keys), model.manipulate(x_p, keys)


@pytest.mark.parametrize("manipulator", ["psp-mix", "psp-recon", "simswap", "styleclip"])
@pytest.mark.parametrize("name", ["ars", "ars_tuned"])
def test_the_shipped_weights_attack_their_manipulator(name, manipulator):
    x, x_p, y, y_p = outputs(name, manipulator)
    scores = arsbench.score(y, y_p, x=x, x_p=x_p)
    assert scores["sr"].mean() >= 0.9
    assert scores["unrecovered"].mean() > 0.25


def test_ars_sees_each_image_alone():
    x, keys = arsbench.load_faces(n=4)
    protector = arsbench.load_protector("ars", "psp-mix")
    together = protector.protect(x, keys)
    alone = torch.cat([protector.protect(x[i : i + 1], keys[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_one_way_alone_gives_its_noise_as_both():
    noises = ArsNetwork(8, 4, "clip", two_way=False).eval()(X, 0.3)
    assert torch.equal(noises.basic, noises.robust)


def test_a_clipped_value_learns_only_to_come_back():
    raw = torch.tensor([-2.0, -2.0, 0.5, 2.0, 2.0], requires_grad=True)
    clip(raw).mul(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])).sum().backward()
    assert clip(raw).tolist() == [-1, -1, 0.5, 1, 1]
    assert raw.grad.tolist() == [0, -1, 1, 1, 0]
