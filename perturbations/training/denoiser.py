"""Trains ``denoiser``: the mse to the face, on pictures that the shipped protectors made of it."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import torch

from arsbench.draws import seeded
from arsbench.perturbations.denoiser import STEM, DenoisingNet
from arsbench.training.job import TrainingJob
from arsbench.training.loop import card, run_steps
from arsbench.weights import load_weights, save_weights

LEARNING_RATE = 1e-3
CHECKPOINT_EVERY = 50


def train(job: TrainingJob) -> Path:
    """Runs or resumes the training; returns the file of the weights."""
    with seeded(job.seed):
        network = DenoisingNet().to(job.device)
    if job.start is not None:
        network.load_state_dict(load_weights(*job.start)[0])
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)

    def step(at: int) -> dict[str, float]:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * at / job.steps))
        x, keys = job.faces(at * job.batch, job.batch)
        x = x.to(job.device)
        x_p = job.protect(x, keys, at)
        loss = (network(x_p) - x).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"mse": loss.item(), "noise_mse": float((x_p - x).square().mean())}

    @functools.cache
    def protected() -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Validation faces, and every protection of them."""
        x, keys = job.validation[0][: job.batch].to(job.device), job.validation[1][: job.batch]
        return x, [job.protect(x, keys, number) for number in range(job.protections)]

    def validate() -> dict[str, float]:
        x, made = protected()
        with torch.no_grad():
            left = [(network(x_p) - x).square().mean() for x_p in made]
        return {
            "validation_mse": float(torch.stack(left).mean()),
            "validation_noise_mse": float(torch.stack([(x_p - x).square().mean() for x_p in made]).mean()),
        }

    run_steps(job, {"network": network, "optimizer": optimizer}, step, validate, CHECKPOINT_EVERY)
    recipe = f"Adam {LEARNING_RATE} with a cosine decay; perturbations/training/denoiser.py"
    about = card(job, "denoiser", "a network that takes protections off faces of 64 x 64", recipe, validate())
    return save_weights(job.folder, STEM, network.state_dict(), about)
