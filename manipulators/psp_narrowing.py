"""Gives the open track's pSp a narrower decoder, which the one it has teaches; a face then costs less to manipulate.

The encoder, the average code and the mapping network stay to the last bit, so that codes mean what they meant to
whoever shares them (StyleCLIP). Of each layer of the decoder the channels that do most are
kept; then the decoder alone is trained: a face from its codes, and whatever the teacher draws from codes mixed of two
faces, from the mapping network's and, so that it answers to attacks as the teacher does, from those of attacked faces.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.contracts import TrainingJob, generator, save_weights, update_average
from manipulators.narrowing import busiest, keep, mean_squares
from manipulators.networks.stylegan2 import ModulatedConv2d, StyledConv, StyleGAN2
from manipulators.psp import OPEN_CHANNELS, Z_SIZE, PspModel, open_model
from manipulators.psp_training import cosine, degrade, pad_latents, validate

RATE = 6e-3
"""High, because the decoder's layers have equalised learning rates: their weights are of size 1."""
MIXED, MAPPED, ATTACKED = 8, 4, 4
"""Pictures a step of mixed codes, of the mapping network's and of attacked faces, beside the batch."""
ATTACK_EPSILON, ATTACK_STEPS = 0.3, 2
CHECKPOINT_EVERY = 100
AVERAGE_DECAY = 0.995


def widths(tensors: Mapping[str, Tensor]) -> dict[int, int]:
    """The channels by resolution of the decoder that pSp's ``tensors`` hold."""
    found = {4: tensors["decoder.input.input"].shape[1]}
    while (weight := tensors.get(f"decoder.convs.{2 * len(found) - 2}.conv.weight")) is not None:
        found[4 * 2 ** len(found)] = weight.shape[1]
    return found


def train(tensors: Mapping[str, Tensor], job: TrainingJob) -> Path:
    """Runs or resumes the training; returns the file of the averaged weights, with its card beside it.

    Args:
        tensors: the finished pSp with the wider decoder.
        job: what the harness hands over.
    """
    teacher = open_model(widths(tensors))
    teacher.load_state_dict(tensors)
    teacher.eval().requires_grad_(False).to(job.device)
    teacher.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model = copy.deepcopy(teacher)
    with torch.no_grad():
        model.decoder = narrowed(teacher.decoder, OPEN_CHANNELS, teacher.encode(job.validation[0].to(job.device)))
    trained = nn.ModuleList(part for name, part in model.decoder.named_children() if name != "style")
    trained.requires_grad_(True)
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(trained.parameters(), RATE, betas=(0.5, 0.99))
    first = 0
    state = job.resume()
    if state is not None:
        model.decoder.load_state_dict(state["decoder"])
        average.decoder.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    for step in range(first, job.steps):
        optimizer.param_groups[0]["lr"] = RATE * cosine(step, job.steps)
        parts = _losses(model.decoder, teacher, job, step)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        update_average(average.decoder, model.decoder, step, AVERAGE_DECAY)
        reached: dict[str, float] = {}
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == job.steps:
            reached = {name: part.item() for name, part in parts.items()} | validate(average, job)
            state = {
                "decoder": model.decoder.state_dict(),
                "average": average.decoder.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            job.keep(state, step + 1, reached)
        job.report(step + 1, reached)
    return save_weights(job.folder, "psp_open", average.state_dict(), card(job, validate(average, job), tensors))


def card(job: TrainingJob, reached: Mapping[str, float], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What stands beside the weights."""
    assert job.start is not None
    shapes = [" ".join(map(str, channels.values())) for channels in (widths(tensors), OPEN_CHANNELS)]
    return {
        "what": "pSp at 64 pixels: IR-SE encoder, StyleGAN2 decoder with mapping network, average code",
        "data": f"synthetic faces of the shipped generator, {job.steps * job.batch} in all",
        "recipe": f"decoder's channels {shapes[0]} narrowed to {shapes[1]}, then the decoder alone: {job.steps} steps "
        f"of {job.batch} faces, Adam {RATE} with cosine decay; manipulators/psp_narrowing.py",
        "command": f"arsbench train psp --steps {job.steps} --batch {job.batch} --seed {job.seed} "
        f"--start {job.start[1]}.safetensors",
        "reached": {"faces": "validation", **{name: round(value, 4) for name, value in reached.items()}},
        "licence": "MIT",
        **job.started_from(),
    }


@torch.no_grad()
def narrowed(decoder: StyleGAN2, channels: Mapping[int, int], codes: Tensor) -> StyleGAN2:
    """A decoder of ``channels`` with those weights of ``decoder`` that do most in drawing ``codes`` [B, n, style]."""
    small = StyleGAN2(4 * 2**decoder.n_blocks, codes.shape[2], len(decoder.style) - 1, channels, Z_SIZE).to(codes)
    tensors = decoder.state_dict()
    layers = [("input", 4), ("conv1", 4)]
    layers += [(f"convs.{i}", 8 * 2 ** (i // 2)) for i in range(2 * decoder.n_blocks)]
    rgbs = {"conv1": "to_rgb1", **{f"convs.{2 * i + 1}": f"to_rgbs.{i}" for i in range(decoder.n_blocks)}}
    styled = {name: layer for name, layer in decoder.named_modules() if isinstance(layer, StyledConv)}
    squares = mean_squares(styled, lambda: decoder(codes))
    squares["input"] = decoder.input.input.square().mean((0, 2, 3))
    for (name, size), following in zip(layers, [*(name for name, _ in layers[1:]), None], strict=True):
        readers = [f"{reader}.conv" for reader in (following, rgbs.get(name)) if reader is not None]
        kept = busiest(squares[name], [(tensors[f"{reader}.weight"], 2) for reader in readers], channels[size])
        made = [(f"{name}.conv.weight", 1), (f"{name}.activate.bias", 0)] if name in styled else [("input.input", 1)]
        keep(tensors, made, kept)
        for reader in readers:
            parts = [(f"{reader}.weight", 2), (f"{reader}.modulation.weight", 0), (f"{reader}.modulation.bias", 0)]
            keep(tensors, parts, kept)
    # The scales of the equalised learning rates follow from the number of inputs, which is another now.
    for module, layer in small.named_modules():
        if isinstance(layer, ModulatedConv2d):
            wide = decoder.get_submodule(module)
            tensors[f"{module}.weight"] = tensors[f"{module}.weight"] * (wide.scale / layer.scale)  # type: ignore[operator]
    small.load_state_dict(tensors)
    return small


def _losses(decoder: StyleGAN2, teacher: PspModel, job: TrainingJob, step: int) -> dict[str, Tensor]:
    draws = generator(f"step {step}", "psp narrowing", job.seed)
    faces = job.faces(step * job.batch, job.batch)[0].to(job.device)
    z = pad_latents(job.latents(step * job.batch, MAPPED), step).to(job.device)
    with torch.no_grad():
        seen, x = degrade(faces, draws)
        codes = teacher.encode(seen)
        a, b = codes[torch.randint(len(codes), (2, MIXED), generator=draws)]
        mixed = torch.lerp(a, b, torch.rand(MIXED, codes.shape[1], 1, generator=draws).to(codes))
        mapped = decoder.style(z)[:, None].expand(-1, codes.shape[1], -1)
        attacked = teacher.encode(_attacked(teacher, faces[:ATTACKED], draws))
        codes = torch.cat([codes, mixed, mapped, attacked])
        drawn = teacher.decoder(codes)
    y = decoder(codes)
    wanted = torch.cat([x, drawn[len(x) :]])
    return {
        "wanted": 4 * F.mse_loss(y, wanted) + 1.25 * job.perceptual(y, wanted).mean(),
        "teacher": 4 * F.mse_loss(y, drawn),
    }


@torch.enable_grad()
def _attacked(model: PspModel, x: Tensor, draws: torch.Generator) -> Tensor:
    """``x`` with noise that drives its codes away, by signed steps from a random start."""
    noise = ATTACK_EPSILON * torch.randint(0, 2, x.shape, generator=draws).to(x).mul_(2).sub_(1)
    codes = model.encode(x).detach()
    for _ in range(ATTACK_STEPS):
        noise.requires_grad_(True)
        away = (model.encode((x + noise).clamp(-1, 1)) - codes).square().sum()
        (gradient,) = torch.autograd.grad(away, noise)
        noise = (noise.detach() + ATTACK_EPSILON * gradient.sign()).clamp(-ATTACK_EPSILON, ATTACK_EPSILON)
    return (x + noise).clamp(-1, 1)
