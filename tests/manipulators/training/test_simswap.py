"""SimSwap's training, in miniature."""

from __future__ import annotations

import json

import pytest
import torch

from arsbench.manipulators.simswap import open_generator
from arsbench.manipulators.training import simswap as simswap_training
from arsbench.manipulators.training.simswap import train
from arsbench.weights import load_weights


@pytest.fixture(autouse=True)
def _a_checkpoint_every_step(monkeypatch):
    monkeypatch.setattr(simswap_training, "CHECKPOINT_EVERY", 1)


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, small_job):
    whole = train(small_job(tmp_path / "whole", 3))
    with pytest.raises(KeyboardInterrupt):
        train(small_job(tmp_path / "stopped", 3, stop_after=2))
    resumed = train(small_job(tmp_path / "stopped", 3))
    assert resumed.read_bytes() == whole.read_bytes()


def test_the_teacher_learns_first_then_drawing_then_all_losses_count(tmp_path, small_job):
    train(small_job(tmp_path, 3))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert ["teacher_identity" in line for line in log] == [True, False, False]
    assert ["identity" in line for line in log] == [False, False, False]
    assert {"swapped", "to_source", "to_own", "ssim"} <= log[-1].keys()


def test_an_untrained_teacher_draws_the_source_s_features():
    targets, sources = torch.randn(2, 3, 100, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(simswap_training.Teacher()(targets, sources), sources)


def test_the_result_can_be_loaded(tmp_path, small_job):
    path = train(small_job(tmp_path, 1))
    open_generator().load_state_dict(load_weights(path.parent, path.stem)[0])


def test_only_dimmed_faces_change_and_face_and_swap_alike():
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    draws = torch.Generator().manual_seed(1)
    seen, wanted = simswap_training.dim(x, x, torch.tensor([True, False]), draws)
    assert torch.equal(seen, wanted)
    torch.testing.assert_close(seen[1], x[1])
    assert seen[0].std() < x[0].std()


def test_jitter_moves_a_face_and_keeps_its_size():
    x = torch.arange(3 * 16 * 16.0).view(1, 3, 16, 16)
    seen = [simswap_training.jitter(x, torch.Generator().manual_seed(seed)) for seed in range(8)]
    assert all(y.shape == x.shape for y in seen)
    assert sum(torch.equal(y, x) for y in seen) < 2
    # All but the border's pixels are pixels of x.
    assert all(set(y.unique().tolist()) <= set(x.unique().tolist()) for y in seen)
