"""pSp's training, in miniature: the second stage, and training from finished weights."""

from __future__ import annotations

import json

import pytest
import torch

from arsbench.draws import seeded
from arsbench.manipulators.psp import open_model
from arsbench.manipulators.training.psp import (
    DEGRADED_CONTRAST,
    DEGRADED_NOISE,
    REFINED_SHARE,
    degrade,
    interpolate,
    train,
)
from arsbench.training.job import TrainingJob
from arsbench.weights import save_weights


class NoDistance(torch.nn.Module):
    def forward(self, a, b):
        return (a - b).square().mean((1, 2, 3), keepdim=True)


def faces(first, count):
    x = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(first)) * 2 - 1
    return x, [str(first + i) for i in range(count)]


def fresh():
    with seeded(0):
        return open_model()


@pytest.fixture
def job(tmp_path):
    save_weights(tmp_path / "start", "psp_open", fresh().state_dict(), {"what": "a start"})
    return TrainingJob(
        faces=faces,
        latents=lambda first, count: torch.zeros(count, 100),
        collage=lambda outer, inner: torch.zeros(len(outer), 3, 64, 64),
        validation=faces(100, 2),
        perceptual=NoDistance(),
        metrics={},
        folder=tmp_path / "out",
        steps=1,
        batch=8,
        start=(tmp_path / "start", "psp_open"),
    )


def test_training_from_finished_weights_leaves_the_decoder_as_it_is(job):
    train(job)
    model = torch.load(job.folder / "checkpoint.pt", weights_only=True)["model"]
    for name, before in fresh().state_dict().items():
        if name.startswith("decoder."):
            torch.testing.assert_close(model[name], before.half().to(before.dtype), msg=name)
    assert not torch.equal(model["encoder.latlayer1.weight"], fresh().encoder.latlayer1.weight)


def test_the_card_names_what_it_started_from(job):
    path = train(job)
    assert json.loads(path.with_suffix(".json").read_text())["started_from"]["what"] == "a start"


def test_the_result_lies_between_the_start_and_what_was_reached():
    start, reached = fresh().state_dict(), fresh()
    with torch.no_grad():
        reached.latent_avg += 1
    interpolate(reached, start)
    assert torch.allclose(reached.latent_avg, torch.full_like(reached.latent_avg, REFINED_SHARE))
    torch.testing.assert_close(reached.encoder.latlayer1.weight, start["encoder.latlayer1.weight"])


def test_the_encoder_sees_noise_that_it_is_not_asked_to_draw():
    x = faces(0, 64)[0] * 0.5
    seen, wanted = degrade(x, torch.Generator().manual_seed(0))
    changed = (seen - wanted).abs().amax((1, 2, 3))
    assert 0.2 < (changed > 1e-3).float().mean() < 0.8
    assert changed.max() <= DEGRADED_NOISE + 1e-6


def test_what_it_is_to_draw_has_the_contrast_it_sees():
    x = faces(0, 64)[0]
    _, wanted = degrade(x, torch.Generator().manual_seed(0))
    ratio = wanted.std((1, 2, 3)) / x.std((1, 2, 3))
    assert ratio.max() <= 1 + 1e-5
    assert ratio.min() >= DEGRADED_CONTRAST - 1e-5
