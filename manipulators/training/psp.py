"""Trains the open track's pSp on generated faces.

Two stages, as the official recipe has them: first the decoder comes to be (jointly with the encoder and the mapping
network, as an autoencoder), then it is frozen and the encoder alone is trained against it. Three losses, each mse and
LPIPS: the face itself from its codes; the face from the mapping network's single w of its latent z; and, low-passed,
the face in another's colours from mixed codes, so that mixing takes colours and keeps shape.

In the second stage the encoder sees some of the faces with lower contrast and random noise, which it has to see
through: a manipulator that random noise disturbs would make a poor judge of protections. Training that starts from
finished weights is second stage throughout, with the batch normalisation as it is, and its result lies between the
weights it started from and those it reached (Wortsman et al. 2022): what the stretch teaches without most of what it
costs, here how easily the model is attacked.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arsbench.draws import generator, seeded
from arsbench.manipulators.psp import MIX_ALPHA, OPEN_MIX_FROM, Z_SIZE, PspModel, mix, open_model
from arsbench.training.average import update_average
from arsbench.training.job import TrainingJob
from arsbench.training.loop import Stateful, card, run_steps
from arsbench.weights import load_weights, save_weights

JOINT_SHARE = 0.85
LEARNING_RATE = 1.5e-3
DECODER_RATE = 8e-3
"""Higher, because the decoder's layers have equalised learning rates: their weights are of size 1."""
SIDE_BATCH = 4
REFINE_RATE = 4e-4
"""For the encoder, when training starts from finished weights."""
REFINED_SHARE = 0.3
"""How far the result lies from the start towards what was reached, when training starts from finished weights."""
DEGRADED_SHARE = 0.5
"""Share of the second stage's faces that are seen with less contrast and with noise."""
DEGRADED_NOISE = 0.3
DEGRADED_CONTRAST = 0.35
"""The most noise, on [-1, 1], and the least contrast that they are seen with."""
CHECKPOINT_EVERY = 200
AVERAGE_DECAY = 0.999


def train(job: TrainingJob) -> Path:
    """Runs or resumes the training; returns the file of the averaged weights, with its card beside it."""
    with seeded(job.seed):
        model = open_model()
    if job.start is None:
        _shrink_rgb(model)
    else:
        model.load_state_dict(load_weights(*job.start)[0])
    _set_training(model, job)
    model.to(job.device)
    model.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    groups: list[dict[str, Any]] = [
        {
            "params": [*model.encoder.parameters(), model.latent_avg],
            "peak": LEARNING_RATE if job.start is None else REFINE_RATE,
        },
        {"params": list(model.decoder.parameters()), "peak": DECODER_RATE},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.5, 0.99))

    def step(at: int) -> dict[str, float]:
        joint = job.start is None and at < JOINT_SHARE * job.steps
        if not joint:
            model.decoder.requires_grad_(False)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * cosine(at, job.steps)
        faces, _ = job.faces(at * job.batch, job.batch)
        z = pad_latents(job.latents(at * job.batch, SIDE_BATCH), at) if joint else None
        x = faces.to(job.device)
        seen, wanted = (x, x) if joint else degrade(x, generator(f"step {at}", "psp", job.seed))
        with job.autocast():
            parts = _losses(model, job, seen, wanted, None if z is None else z.to(job.device))
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        update_average(average, model, at, AVERAGE_DECAY)
        return {name: part.item() for name, part in parts.items()}

    kept: dict[str, Stateful] = {"model": model, "average": average, "optimizer": optimizer}
    run_steps(job, kept, step, lambda: validate(average, job), CHECKPOINT_EVERY)
    if job.start is not None:
        interpolate(average, load_weights(*job.start)[0])
    return save_weights(job.folder, "psp_open", average.state_dict(), _card(job, validate(average, job)))


def interpolate(reached: PspModel, start: Mapping[str, Tensor]) -> None:
    """Puts REFINED_SHARE of the way from ``start`` to ``reached`` in the place of the latter."""
    with torch.no_grad():
        for name, value in reached.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.lerp(start[name].to(value), value, REFINED_SHARE))


def _card(job: TrainingJob, reached: dict[str, float]) -> dict[str, object]:
    recipe = f"Adam {LEARNING_RATE} (decoder {DECODER_RATE}) with cosine decay, decoder frozen after {JOINT_SHARE:.0%}"
    if job.start is not None:
        recipe = f"Adam {REFINE_RATE} with cosine decay, decoder frozen; {REFINED_SHARE:.0%} of the way from the start"
    what = "pSp at 64 pixels: IR-SE encoder, StyleGAN2 decoder with mapping network, average code"
    return card(job, "psp", what, f"{recipe}; manipulators/training/psp.py", reached)


def validate(model: PspModel, job: TrainingJob) -> dict[str, float]:
    """PSNR (dB) and LPIPS of the reconstructed validation faces."""
    model.eval()
    x = job.validation[0].to(job.device)
    with torch.no_grad():
        y = model.decode(model.encode(x), x.shape[-1]).clamp(-1, 1)
        mse = (y - x).square().mean((1, 2, 3))
        lpips = job.perceptual(y, x).mean()
    return {"psnr": float((-10 * torch.log10(mse / 4 + 1e-8)).mean()), "lpips": float(lpips)}


def _set_training(model: PspModel, job: TrainingJob) -> None:
    model.train()
    if job.start is not None:
        for layer in model.encoder.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.eval()


def degrade(x: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """What the encoder sees of ``x`` and what it is to make of it: less contrast for some, and noise to see through."""
    n = len(x)
    some = (torch.rand(n, 1, 1, 1, generator=draws) < DEGRADED_SHARE).to(x)
    scale = 1 - some * (1 - DEGRADED_CONTRAST) * torch.rand(n, 1, 1, 1, generator=draws).to(x)
    strength = some * DEGRADED_NOISE * torch.rand(n, 1, 1, 1, generator=draws).to(x)
    noise = strength * torch.randint(0, 2, x.shape, generator=draws).to(x).mul_(2).sub_(1)
    mean = x.mean((1, 2, 3), keepdim=True)
    return ((x + noise).clamp(-1, 1) - mean) * scale + mean, (x - mean) * scale + mean


def _losses(model: PspModel, job: TrainingJob, seen: Tensor, x: Tensor, z: Tensor | None) -> dict[str, Tensor]:
    codes = model.encode(seen)
    n = SIDE_BATCH
    mixed = mix(codes[:n], codes[n : 2 * n], OPEN_MIX_FROM)
    batches = [codes, mixed]
    if z is not None:
        batches.append(model.decoder.style(z)[:, None].expand(-1, codes.shape[1], -1))
    images = model.decoder(torch.cat(batches))
    target = _recolour(x[:n], x[n : 2 * n])
    y, y_mixed = images[: len(x)], images[len(x) : len(x) + n]
    perceptual = job.perceptual(images[: len(x) + n], torch.cat([x, target])).flatten()
    parts = {
        "recon": 4 * F.mse_loss(y, x) + 1.25 * perceptual[: len(x)].mean(),
        "mix": 0.5 * F.mse_loss(F.avg_pool2d(y_mixed, 4), F.avg_pool2d(target, 4)) + 0.1 * perceptual[len(x) :].mean(),
    }
    if z is not None:
        y_z = images[len(x) + n :]
        parts["mapping"] = 0.2 * F.mse_loss(y_z, x[:n]) + 0.05 * job.perceptual(y_z, x[:n]).mean()
    return parts


def _recolour(x: Tensor, reference: Tensor) -> Tensor:
    """``x`` with each channel's mean and standard deviation moved by MIX_ALPHA towards the reference's."""
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
    mean_r, std_r = reference.mean((2, 3), keepdim=True), reference.std((2, 3), keepdim=True)
    aim_mean, aim_std = torch.lerp(mean, mean_r, MIX_ALPHA), torch.lerp(std, std_r, MIX_ALPHA)
    return ((x - mean) / (std + 1e-3) * aim_std + aim_mean).clamp(-1, 1)


def _shrink_rgb(model: PspModel) -> None:
    """Small RGB outputs at the start: at the default variance the sum of skips starts far outside [-1, 1]."""
    with torch.no_grad():
        for layer in (model.decoder.to_rgb1, *model.decoder.to_rgbs):
            layer.conv.weight.mul_(0.1)


def cosine(step: int, steps: int) -> float:
    """The share of the learning rate at a step: warm over the first 100, then a cosine down to a fiftieth."""
    warm = min(1.0, (step + 1) / 100)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def pad_latents(z: Tensor, step: int) -> Tensor:
    """The generator's 100 numbers, filled up to the mapping network's 512 with noise it learns to ignore."""
    filler = torch.randn(len(z), Z_SIZE - z.shape[1], generator=torch.Generator().manual_seed(step))
    return torch.cat([z, filler], dim=1)
