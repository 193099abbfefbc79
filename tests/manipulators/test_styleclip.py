"""StyleCLIP as users meet it: the shipped weights through the public interface."""

from __future__ import annotations

import json

import pytest
import torch

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.face_networks.expression import CLASSES
from arsbench.face_networks.loading import load_face_age, load_face_expression, load_face_recogniser
from arsbench.manipulators.styleclip import EDITS, WEIGHTS, StyleClipModel, edited
from arsbench.weights import load_weights

EXPRESSION = {"smiling": "happy", "surprised": "surprised", "angry": "angry"}


@pytest.fixture(scope="module")
def clip():
    return arsbench.load_manipulator("styleclip")


@pytest.fixture(scope="module")
def faces():
    return arsbench.load_faces(n=40)


def effect(edit, n):
    """What the edit gains (probability or years), and the share of faces nearer to themselves than to the median."""
    x, keys = arsbench.load_faces(n=n)
    model = arsbench.load_manipulator("styleclip", condition=edit)
    with torch.no_grad():
        y = torch.cat([model.manipulate(x[i : i + 50], keys[i : i + 50]) for i in range(0, n, 50)]).clamp(-1, 1)
        measured = [torch.cat([_measure(edit, faces[i : i + 50]) for i in range(0, n, 50)]).mean() for faces in (x, y)]
        recogniser = load_face_recogniser()
        own, described = (torch.cat([recogniser(faces[i : i + 50]) for i in range(0, n, 50)]) for faces in (x, y))
    distances = torch.cdist(described, own)
    others = distances.masked_fill(torch.eye(n, dtype=torch.bool), torch.nan).nanmedian(1).values
    kept = (distances.diagonal() < others).double().mean()
    return float(measured[1] - measured[0]), float(kept)


def _measure(edit, faces):
    if edit == "older":
        return load_face_age()(faces)
    return load_face_expression().probabilities(faces)[:, CLASSES.index(EXPRESSION[edit])]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_does_what_it_says_and_keeps_the_person(edit):
    gain, kept = effect(edit, 40)
    assert gain >= (8 if edit == "older" else 0.3)
    assert kept >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_does_what_it_says_and_keeps_the_person_on_500_faces(edit):
    gain, kept = effect(edit, 500)
    assert gain >= (8 if edit == "older" else 0.3)
    assert kept >= 0.8


def test_the_edit_follows_the_key_alone(clip, faces):
    _, keys = faces
    names = clip.conditions(keys)
    assert clip.conditions(keys[::-1]) == names[::-1]
    assert set(names) == set(EDITS)


def test_a_given_edit_is_that_of_every_image(clip, faces):
    x, keys = faces
    given = arsbench.load_manipulator("styleclip", condition=clip.conditions(keys[:1])[0])
    with torch.no_grad():
        torch.testing.assert_close(given.manipulate(x[:1], keys[:1]), clip.manipulate(x[:1], keys[:1]))
    assert len(set(given.conditions(keys))) == 1


@pytest.mark.parametrize("condition", ["younger", torch.zeros(1, 3, 64, 64)])
def test_an_edit_there_is_not_is_one_sentence_that_names_those_there_are(condition):
    with pytest.raises(ArsbenchError, match="smiling, surprised, angry, older"):
        arsbench.load_manipulator("styleclip", condition=condition)


def test_mixed_edits_are_those_one_by_one():
    model = StyleClipModel()
    codes = torch.randn(4, 10, 128, generator=torch.Generator().manual_seed(0))
    edits = ["older", "angry", "older", "smiling"]
    with torch.no_grad():
        single = torch.cat([codes[i : i + 1] + 0.1 * model.mappers[e](codes[i : i + 1]) for i, e in enumerate(edits)])
        torch.testing.assert_close(edited(codes, edits, model.mappers), single)


def test_its_heads_were_trained_on_the_psp_that_is_shipped():
    card = json.loads((WEIGHTS / "styleclip_open.json").read_text())
    assert card["uses"] == {"psp_open": load_weights(WEIGHTS, "psp_open")[1]}


def test_the_gradient_reaches_the_image(clip, faces):
    x = faces[0][:2].clone().requires_grad_(True)
    clip.manipulate(x, faces[1][:2]).square().mean().backward()
    assert x.grad is not None
    assert x.grad.abs().amax((1, 2, 3)).min() > 0
