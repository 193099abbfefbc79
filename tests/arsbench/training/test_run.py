"""Training through the harness: what `arsbench train` does, in miniature."""

from __future__ import annotations

import json

import pytest

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.faces.shipped import ShippedFaces
from arsbench.running.progress import NoProgress
from arsbench.training import run as training


@pytest.fixture(autouse=True)
def _few_validation_faces(monkeypatch):
    monkeypatch.setattr(training, "VALIDATION_FACES", 2)


def test_the_weights_of_a_trained_protector_can_be_run(tmp_path, monkeypatch):
    path = training.train("ars_tuned", "psp-recon", "open", steps=1, batch=2, out=tmp_path)
    assert path == tmp_path / "ars_tuned--psp-recon--open.safetensors"
    monkeypatch.setenv("ARSBENCH_WEIGHTS", str(tmp_path))
    x, keys = arsbench.load_faces(n=1)
    assert arsbench.load_protector("ars_tuned", "psp-recon").protect(x, keys).shape == x.shape


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


def test_faces_of_a_split_come_again_in_another_order():
    faces = training.repeated(ShippedFaces("test", 5))
    keys = [faces(first, 3)[1] for first in range(0, 15, 3)]
    flat = [key for part in keys for key in part]
    turns = [flat[i : i + 5] for i in range(0, 15, 5)]
    assert all(sorted(turn) == sorted(turns[0]) for turn in turns)
    assert turns[0] != turns[1]
    assert faces(4, 3)[1] == flat[4:7]
    assert faces(4, 3)[0].shape == (3, 3, 64, 64)


def test_an_official_manipulator_is_not_trained(tmp_path):
    with pytest.raises(ArsbenchError, match="trained on track 'open' alone"):
        training.train("psp", "psp-mix", "paper", steps=1, batch=2, out=tmp_path)


def test_a_resumed_training_counts_on_from_where_it_stopped(tmp_path):
    class Counts(NoProgress):
        counted = 0

        def start(self, total, done=0, unit="rows"):
            self.started = (total, done)

        def advance(self, steps=1, now=""):
            self.counted += steps

    training.train("ars", "psp-recon", "open", steps=1, batch=2, out=tmp_path)
    progress = Counts()
    training.train("ars", "psp-recon", "open", steps=2, batch=2, out=tmp_path, progress=progress)
    assert (progress.started, progress.counted) == ((2, 1), 1)
