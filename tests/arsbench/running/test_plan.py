from __future__ import annotations

import pytest
import torch

from arsbench import registry
from arsbench.contracts import ArsbenchError
from arsbench.running.loading import make_manipulator, make_perturbation
from arsbench.running.plan import Image, Severity, condition_identity, make_plan, severities_of

IMAGES = [Image("a", "1"), Image("b", "2")]
PARTS = {
    "protocol_hash": "h",
    "track": "open",
    "epsilon": 0.3,
    "seed": 0,
    "device": "cpu",
    "protectors": {"p": {"g": ["p", "code"]}, "none": {"g": ["none", "code"]}},
    "manipulators": {"g": ["g", "code", "weights"]},
    "severities": [Severity(), Severity("blur", 1, 0.5, "code")],
    "images": IMAGES,
}


def plan(**changes):
    return make_plan(**(PARTS | changes))


def cell_keys(made):
    return [cell.key for cell in made.cells]


def test_the_cross_product_in_order():
    assert [cell.label for cell in plan().cells] == [
        ("p", "g", "none", 0, 0.3, ""),
        ("p", "g", "blur", 1, 0.3, ""),
        ("none", "g", "none", 0, 0.3, ""),
        ("none", "g", "blur", 1, 0.3, ""),
    ]


def test_cell_keys_differ():
    assert len(set(cell_keys(plan()))) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"protocol_hash": "other"},
        {"track": "paper"},
        {"epsilon": 0.1},
        {"seed": 1},
        {"protectors": {"p": {"g": ["p", "edited"]}, "none": {"g": ["none", "edited"]}}},
        {"manipulators": {"g": ["g", "code", "other weights"]}},
        {"severities": [Severity("none", 0, None, "x"), Severity("blur", 1, 0.75, "code")]},
    ],
)
def test_everything_that_determines_a_number_enters_the_keys(change):
    assert not set(cell_keys(plan())) & set(cell_keys(plan(**change)))


@pytest.mark.parametrize("images", [IMAGES[:1], [Image("a", "1"), Image("b", "3")], [Image("a", "1"), Image("c", "2")]])
def test_images_enter_the_runs_key_alone(images):
    assert plan(images=images).key != plan().key
    assert cell_keys(plan(images=images)) == cell_keys(plan())


def test_a_reference_does_not_depend_on_the_protectors():
    other = plan(protectors={"q": {"g": ["q"]}}, epsilon=0.1, seed=3)
    assert plan().reference_key("g", Severity()) == other.reference_key("g", Severity())


@pytest.mark.parametrize("epsilon", [0, -0.1, float("nan"), float("inf"), 3, "0.3"])
def test_epsilon_must_be_a_budget(epsilon):
    with pytest.raises(ArsbenchError, match="epsilon"):
        plan(epsilon=epsilon)


def test_no_images():
    with pytest.raises(ArsbenchError, match="no images"):
        plan(images=[])


def test_two_images_of_one_key():
    with pytest.raises(ArsbenchError, match="share a key"):
        plan(images=[Image("a", "1"), Image("a", "2")])


def made(name):
    method = registry.find("perturbation", name)
    return method, make_perturbation(method)


def test_level_zero_comes_once():
    severities = severities_of([made("gaussian_blur"), made("jpeg")], (0, 5), "open")
    assert [severity.label for severity in severities] == [("none", 0), ("gaussian_blur", 5), ("jpeg", 5)]


def test_a_perturbations_weights_enter_the_keys_and_one_without_keeps_its_own():
    method, perturbation = made("jpeg")
    sources = []
    for digest in (None, "a" * 64, "b" * 64):
        perturbation.weights_sha256 = digest
        sources.append(severities_of([(method, perturbation)], (5,), "open")[1].source)
    assert sources[0] == method.source
    assert len(set(sources)) == 3


def test_conditions_have_identities(fake):
    method = registry.find("manipulator", fake("Mirror"))
    given = [None, "random", torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64), torch.zeros(1, 512)]
    found = {condition_identity(make_manipulator(method, "open", torch.device("cpu"), c)) for c in given}
    assert len(found) == len(given)
