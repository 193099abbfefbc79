from __future__ import annotations

import pytest
import torch

import arsbench
from arsbench.scoring import metrics
from arsbench.scoring.lpips import load_lpips
from arsbench.training.job import TrainingJob


@pytest.fixture
def small_job():
    """``small_job(folder, steps, stop_after)``: a training on four faces, interrupted after that step."""

    def make(folder, steps, stop_after=None):
        def report(step, reached):
            if step == stop_after:
                raise KeyboardInterrupt

        return TrainingJob(
            faces=lambda first, count: arsbench.load_faces(split="val", n=count),
            latents=lambda first, count: torch.randn(count, 100, generator=torch.Generator().manual_seed(first)),
            collage=lambda outer, inner: outer.mean(1).sub(inner.mean(1))[:, None, None, None].expand(-1, 3, 64, 64),
            validation=arsbench.load_faces(n=4),
            perceptual=load_lpips("cpu"),
            metrics={metric.name: metric for metric in metrics.all_metrics("cpu")},
            folder=folder,
            steps=steps,
            batch=4,
            report=report,
        )

    return make
