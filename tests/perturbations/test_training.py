"""The training of the denoiser: that it learns, and goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from arsbench.perturbations.denoiser import DenoisingNet
from arsbench.perturbations.training import denoiser
from arsbench.training.job import TrainingJob
from arsbench.weights import load_weights


def faces(first: int, count: int) -> tuple[Tensor, list[str]]:
    draws = torch.Generator().manual_seed(first)
    return torch.rand(count, 3, 12, 12, generator=draws) - 0.5, [f"{first + i}" for i in range(count)]


def job(folder: Path, steps: int) -> TrainingJob:
    return TrainingJob(
        faces=faces,
        latents=lambda first, count: torch.zeros(count, 100),
        collage=lambda outer, inner: torch.zeros(len(outer), 3, 12, 12),
        validation=faces(1000, 4),
        perceptual=torch.nn.Identity(),
        metrics={},
        folder=folder,
        steps=steps,
        batch=4,
        protect=lambda x, keys, number: x + (0.2, 0.3)[number % 2],
        protections=2,
    )


def test_it_learns_to_take_off_what_was_added(tmp_path: Path) -> None:
    path = denoiser.train(job(tmp_path, 40))
    network = DenoisingNet()
    network.load_state_dict(load_weights(path.parent, path.stem)[0])
    x, _ = faces(2000, 4)
    with torch.no_grad():
        left = float((network(x + 0.25) - x).square().mean())
    assert left < 0.3 * 0.25**2
    reached = json.loads(path.with_suffix(".json").read_text())["reached"]
    assert reached["validation_noise_mse"] == pytest.approx((0.04 + 0.09) / 2, abs=1e-4)
    assert reached["validation_mse"] < 0.3 * reached["validation_noise_mse"]


def test_training_resumed_equals_training_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoiser, "CHECKPOINT_EVERY", 2)
    whole = denoiser.train(job(tmp_path / "whole", 4))

    def stop(step: int, reached: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    halted = job(tmp_path / "halted", 4)
    halted.report = stop
    with pytest.raises(KeyboardInterrupt):
        denoiser.train(halted)
    assert denoiser.train(job(tmp_path / "halted", 4)).read_bytes() == whole.read_bytes()
