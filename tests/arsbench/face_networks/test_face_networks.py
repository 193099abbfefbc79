"""The face networks are the originals: against what the JavaScript library made of the same faces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.face_networks import loading as face_networks
from arsbench.face_networks.expression import CLASSES
from arsbench.face_networks.loading import dequantised, load_face_age, load_face_expression, load_face_recogniser
from arsbench.face_networks.parts import pad_same, prepare, resize

ORIGINAL = json.loads((Path(__file__).parents[2] / "fixtures" / "face_networks.json").read_text())
LOADERS = (load_face_recogniser, load_face_expression, load_face_age)


@pytest.fixture(scope="module")
def faces():
    return arsbench.load_faces(n=len(ORIGINAL))[0]


@torch.no_grad()
def test_descriptors_equal_the_original_s(faces):
    wanted = torch.tensor([face["descriptor"] for face in ORIGINAL])
    error = (load_face_recogniser()(faces) - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert error.max() < 1e-4


@torch.no_grad()
def test_expressions_equal_the_original_s(faces):
    wanted = torch.tensor([[face["expressions"][name] for name in CLASSES] for face in ORIGINAL])
    torch.testing.assert_close(load_face_expression().probabilities(faces), wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_ages_equal_the_original_s(faces):
    wanted = torch.tensor([face["age"] for face in ORIGINAL])
    torch.testing.assert_close(load_face_age()(faces), wanted, atol=0, rtol=1e-4)


@torch.no_grad()
def test_genders_equal_the_original_s(faces):
    wanted = torch.tensor([face["male"] for face in ORIGINAL])
    torch.testing.assert_close(load_face_age().male_probability(faces), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("load", LOADERS)
def test_the_gradient_reaches_the_picture(load, faces):
    x = faces.clone().requires_grad_(True)
    load()(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().amax((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("load", LOADERS)
@torch.no_grad()
def test_a_face_is_seen_alone(load, faces):
    torch.testing.assert_close(load()(faces)[:1], load()(faces[:1]), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def people():
    x, keys = arsbench.load_faces(n=100)
    with torch.no_grad():
        return x, keys, load_face_recogniser()(x)


@pytest.mark.parametrize("kind", ["saturation", "contrast", "dropout", "gaussian_blur", "downscale", "jpeg"])
@torch.no_grad()
def test_a_perturbed_face_is_told_from_another(kind, people):
    x, keys, descriptors = people
    distances = torch.cdist(load_face_recogniser()(arsbench.perturb(x, kind, 3, keys)), descriptors)
    same, others = distances.diag(), distances[~torch.eye(len(x), dtype=torch.bool)]
    auc = (same[:, None] < others).float().mean()
    assert auc >= 0.95


def test_resizing_reads_position_i_at_i_times_the_ratio():
    x = torch.tensor([0.0, 1.0]).expand(1, 3, 2, 2)
    torch.testing.assert_close(resize(x, 4)[0, 0, 0], torch.tensor([0.0, 0.5, 1.0, 1.0]))


def test_a_tall_picture_is_padded_with_black_on_both_sides():
    white = torch.ones(1, 3, 8, 4)
    prepared = prepare(white, 8)
    black = prepare(-torch.ones(1, 3, 8, 8), 8)
    assert torch.equal(prepared[..., :2], black[..., :2])
    assert torch.equal(prepared[..., 6:], black[..., 6:])
    assert not torch.equal(prepared[..., 2:6], black[..., 2:6])


def test_the_odd_pixel_of_same_padding_goes_below_and_to_the_right():
    assert pad_same(torch.ones(1, 1, 4, 4), 3, 2)[0, 0].sum(1).tolist() == [4.0] * 4 + [0.0]


def test_quantised_values_are_scale_times_byte_plus_min():
    stored = {"w": torch.tensor([0, 255], dtype=torch.uint8), "w:scale_and_min": torch.tensor([0.5, -1.0])}
    assert dequantised(stored)["w"].tolist() == [-1.0, 126.5]


def test_a_damaged_file_is_one_sentence(tmp_path, monkeypatch):
    shutil.copytree(face_networks.WEIGHTS, tmp_path / "weights")
    damaged = tmp_path / "weights" / "face_age.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr(face_networks, "WEIGHTS", tmp_path / "weights")
    with pytest.raises(ArsbenchError, match=r"face_age.*damaged"):
        load_face_age.__wrapped__()
