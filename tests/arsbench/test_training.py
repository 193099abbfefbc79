"""Training through the harness: what `arsbench train` does, in miniature."""

from __future__ import annotations

import json

import pytest

import arsbench
from arsbench import training
from arsbench.contracts import ArsbenchError


@pytest.fixture(autouse=True)
def _few_validation_faces(monkeypatch):
    monkeypatch.setattr(training, "VALIDATION_FACES", 2)


def test_the_weights_of_a_trained_protector_can_be_run(tmp_path, monkeypatch):
    path = training.train("ars_untargeted", "psp-recon", "open", steps=1, batch=2, out=tmp_path)
    assert path == tmp_path / "ars_untargeted--psp-recon--open.safetensors"
    monkeypatch.setenv("ARSBENCH_WEIGHTS", str(tmp_path))
    x, keys = arsbench.load_faces(n=1)
    assert arsbench.load_protector("ars_untargeted", "psp-recon").protect(x, keys).shape == x.shape


def test_a_family_of_manipulators_is_trained_by_its_name(tmp_path):
    path = training.train("psp", "psp-mix", "open", steps=1, batch=8, out=tmp_path)
    assert json.loads(path.with_suffix(".json").read_text())["command"].startswith("arsbench train psp --steps 1")


def test_training_started_again_does_nothing_twice(tmp_path):
    for _ in range(2):
        training.train("ars", "psp-recon", "open", steps=1, batch=2, out=tmp_path)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1]


def test_a_method_without_training_is_one_sentence(tmp_path):
    with pytest.raises(ArsbenchError, match="'fgsm' has nothing to train"):
        training.train("fgsm", "psp-mix", "open", steps=1, batch=2, out=tmp_path)
