"""StyleCLIP's training, in miniature."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from arsbench.draws import seeded
from arsbench.manipulators.styleclip import EDITS, WEIGHTS, StyleClipModel, load_psp
from arsbench.manipulators.training import styleclip as styleclip_training
from arsbench.manipulators.training.styleclip import Trainer, train
from arsbench.weights import load_weights


@pytest.fixture(autouse=True)
def _a_checkpoint_every_step(monkeypatch):
    monkeypatch.setattr(styleclip_training, "CHECKPOINT_EVERY", 1)


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, small_job):
    whole = train(small_job(tmp_path / "whole", 4))
    with pytest.raises(KeyboardInterrupt):
        train(small_job(tmp_path / "stopped", 4, stop_after=3))
    resumed = train(small_job(tmp_path / "stopped", 4))
    assert resumed.read_bytes() == whole.read_bytes()


def test_first_the_heads_then_the_mappers(tmp_path, small_job):
    train(small_job(tmp_path, 2))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert ["recon" in line for line in log] == [True, False]
    assert ["expression" in line for line in log] == [False, True]


@pytest.mark.parametrize(("steps", "changed"), [(1, {"styles"}), (2, {"styles", "mappers"})])
def test_finished_weights_are_refined_in_the_heads_then_in_the_mappers(tmp_path, small_job, steps, changed):
    start = train(small_job(tmp_path / "start", 2))
    job = dataclasses.replace(small_job(tmp_path / "refined", steps), start=(start.parent, start.stem))
    before, after = (load_weights(path.parent, path.stem)[0] for path in (start, train(job)))
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == changed


def test_the_result_can_be_loaded_and_names_the_psp_it_needs(tmp_path, small_job):
    path = train(small_job(tmp_path, 2))
    StyleClipModel().load_state_dict(load_weights(path.parent, path.stem)[0])
    assert json.loads(path.with_suffix(".json").read_text())["uses"] == {"psp_open": load_psp()[1]}


def test_heads_that_draw_somebody_else_are_corrected(tmp_path, small_job):
    job = small_job(tmp_path, 1)
    with seeded(0):
        trainer = Trainer(StyleClipModel(), job)
    lost = trainer.heads_losses(job.validation[0])["identity"]
    lost.backward()
    assert all(w.grad is not None and w.grad.any() for w in trainer.model.styles.parameters())
    trainer.model.load_state_dict(load_weights(WEIGHTS, "styleclip_open")[0])
    assert trainer.heads_losses(job.validation[0])["identity"] < 0.8 * lost


def test_the_mappers_losses_reach_every_mapper_and_leave_the_heads(tmp_path, small_job):
    job = small_job(tmp_path, 1)
    trainer = Trainer(StyleClipModel(), job)
    losses = trainer.mapper_losses(job.validation[0])
    torch.stack([loss.float() for loss in losses.values()]).sum().backward()
    for edit in EDITS:
        assert all(w.grad is not None and w.grad.any() for w in trainer.model.mappers[edit].parameters())
    assert all(w.grad is None for w in trainer.model.styles.parameters())
