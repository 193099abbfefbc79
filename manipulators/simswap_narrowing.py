"""Gives the open track's SimSwap a narrower generator, which the one it has teaches; a swap then costs less.

Of each layer the channels that do most are kept. What remains is trained to draw the teacher's swaps of faces with
their own and with others' identities, some of them dimmed as in the teacher's training, and to keep the identity.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.contracts import TrainingJob, generator, save_weights, update_average
from manipulators.face_networks import load_face_recogniser
from manipulators.narrowing import Part, busiest, keep, mean_squares
from manipulators.networks.simswap import SimSwapGenerator
from manipulators.simswap import OPEN_BLOCKS, OPEN_CHANNELS, latent_identity, open_generator
from manipulators.simswap_training import (
    DIMMED_SHARE,
    decay,
    descend,
    dim,
    identity_distance,
    jitter,
    keeps_own,
    reconstruction,
    sources_of,
    validate,
)

RATE = 1e-3
IDENTITY_WEIGHT = 1.0
CHECKPOINT_EVERY = 100
AVERAGE_DECAY = 0.995


def widths(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The channels of the generator that ``tensors`` hold, at full size and after each halving."""
    return tuple(len(tensors[f"{name}.bias"]) for name in ("first_layer.1", "down1.0", "down2.0", "down3.0"))


def train(tensors: Mapping[str, Tensor], job: TrainingJob) -> Path:
    """Runs or resumes the training; returns the file of the averaged weights, with its card beside it.

    Args:
        tensors: the finished generator with the wider layers.
        job: what the harness hands over.
    """
    teacher = open_generator(widths(tensors))
    teacher.load_state_dict(tensors)
    teacher.eval().requires_grad_(False).to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    recogniser = load_face_recogniser(job.device)
    with torch.no_grad():
        shown = job.validation[0].to(job.device)
        network = narrowed(teacher, OPEN_CHANNELS, shown, latent_identity(recogniser, shown.roll(1, 0)))
    network.to(job.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), RATE, betas=(0.5, 0.99))
    first = 0
    state = job.resume()
    if state is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    for step in range(first, job.steps):
        optimizer.param_groups[0]["lr"] = RATE * decay(step, job.steps)
        parts = _losses(network, teacher, recogniser, job, step)
        descend(torch.stack(list(parts.values())).sum(), network, optimizer)
        update_average(average, network, step, AVERAGE_DECAY)
        reached: dict[str, float] = {}
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == job.steps:
            reached = {name: part.item() for name, part in parts.items()} | validate(average, recogniser, job)
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            job.keep(state, step + 1, reached)
        job.report(step + 1, reached)
    reached = validate(average, recogniser, job)
    return save_weights(job.folder, "simswap_open", average.state_dict(), card(job, reached, tensors))


def card(job: TrainingJob, reached: Mapping[str, float], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What stands beside the weights."""
    assert job.start is not None
    shapes = [" ".join(map(str, channels)) for channels in (widths(tensors), OPEN_CHANNELS)]
    return {
        "what": "SimSwap at 64 pixels: the generator; identities come from the shipped face recogniser",
        "data": f"synthetic faces of the shipped generator, {job.steps * job.batch} in all",
        "recipe": f"channels {shapes[0]} narrowed to {shapes[1]}, then {job.steps} steps of {job.batch} faces, Adam "
        f"{RATE}; manipulators/simswap_narrowing.py",
        "command": f"arsbench train simswap --steps {job.steps} --batch {job.batch} --seed {job.seed} "
        f"--start {job.start[1]}.safetensors",
        "reached": {"faces": "validation", **{name: round(value, 4) for name, value in reached.items()}},
        "licence": "MIT",
        **job.started_from(),
    }


@torch.no_grad()
def narrowed(
    network: SimSwapGenerator, channels: tuple[int, ...], faces: Tensor, identities: Tensor
) -> SimSwapGenerator:
    """A generator of ``channels`` with those weights of ``network`` that do most in swapping ``faces``."""
    small = open_generator(channels)
    tensors = network.state_dict()
    blocks = [f"BottleNeck.{i}" for i in range(OPEN_BLOCKS)]
    full, half, quarter, eighth = channels

    def convolution(name: str, conv: int) -> list[Part]:
        norms = [(f"{name}.{conv + 1}.{part}", 0) for part in ("weight", "bias", "running_mean", "running_var")]
        return [(f"{name}.{conv}.weight", 0), (f"{name}.{conv}.bias", 0), *norms]

    # Each layer, its own tensors, those that read it, and how many channels it keeps.
    stages: list[tuple[str, list[Part], list[str], int]] = [
        ("first_layer", convolution("first_layer", 1), ["down1.0.weight"], full),
        ("down1", convolution("down1", 0), ["down2.0.weight"], half),
        ("down2", convolution("down2", 0), ["down3.0.weight"], quarter),
        ("up3", convolution("up3", 1), ["up2.1.weight"], quarter),
        ("up2", convolution("up2", 1), ["up1.1.weight"], half),
        ("up1", convolution("up1", 1), ["last_layer.1.weight"], full),
    ]
    for block in blocks:
        made: list[Part] = [(f"{block}.conv1.1.weight", 0), (f"{block}.conv1.1.bias", 0)]
        stages.append((f"{block}.style1", made, [f"{block}.conv2.1.weight"], eighth))
    # The blocks add to one stream of channels, that each of them reads.
    stream = convolution("down3", 0)
    stream += [(f"{block}.conv2.1.{part}", 0) for block in blocks for part in ("weight", "bias")]
    stages.append((blocks[-1], stream, [*(f"{block}.conv1.1.weight" for block in blocks), "up3.1.weight"], eighth))

    watched = {name: network.get_submodule(name) for name, *_ in stages}
    squares = mean_squares(watched, lambda: network((faces + 1) / 2, identities))
    for name, made, readers, n in stages:
        kept = busiest(squares[name], [(tensors[reader], 1) for reader in readers], n)
        keep(tensors, made, kept)
        keep(tensors, [(reader, 1) for reader in readers], kept)
        styles = [f"{block}.style2" for block in blocks] if name == blocks[-1] else [name] * name.endswith("style1")
        both = torch.cat([kept, kept + len(squares[name])])  # of scale and shift
        keep(tensors, [(f"{style}.linear.{part}", 0) for style in styles for part in ("weight", "bias")], both)
    small.load_state_dict(tensors)
    return small


def _losses(
    network: nn.Module, teacher: nn.Module, recogniser: nn.Module, job: TrainingJob, step: int
) -> dict[str, Tensor]:
    draws = generator(f"step {step}", "simswap narrowing", job.seed)
    x = job.faces(step * job.batch, job.batch)[0].to(job.device)
    sources = sources_of(len(x))
    dimmed = torch.rand(len(x), generator=draws) < DIMMED_SHARE
    others = (~keeps_own(sources) & ~dimmed).nonzero()[:, 0]
    with torch.no_grad():
        mine = recogniser(x)
        theirs = mine[sources]
        identity = nn.functional.normalize(theirs, dim=1) * theirs.shape[1] ** 0.5
        seen, _ = dim(x, x, dimmed, draws)
        wanted = teacher((seen + 1) / 2, identity) * 2 - 1
    y = network((seen + 1) / 2, identity) * 2 - 1
    described = recogniser(jitter(y[others], draws))
    return {
        "teacher": reconstruction(y, wanted, job),
        "identity": IDENTITY_WEIGHT * identity_distance(described, theirs[others], mine[others]),
    }
