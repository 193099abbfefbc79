"""Gives the open track's pSp a narrower encoder and decoder, which the ones it has teach; a face then costs less.

What codes mean stays, for whoever shares them (StyleCLIP): average code and mapping network remain to the last bit, and
the encoder is taught the teacher's features and codes. Of each layer the channels that do most are kept, and of
each stage of the encoder the first block and those that do most. Then both are trained: a face from its codes, and what
the teacher draws from codes mixed of two faces and from the mapping network's. So that the model answers to noise and
to attacks as its teacher does, the encoder sees faces with noise and less contrast, and attacked ones.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.contracts import ArsbenchError, TrainingJob, generator, save_weights, update_average
from manipulators.narrowing import busiest, keep, mean_squares
from manipulators.networks.psp_encoder import PspEncoder, Stage
from manipulators.networks.stylegan2 import ModulatedConv2d, StyledConv, StyleGAN2
from manipulators.psp import OPEN_SHAPE, Z_SIZE, PspModel, Shape, open_model
from manipulators.psp_training import cosine, degrade, pad_latents, validate

ENCODER_RATE = 1.5e-3
DECODER_RATE = 4e-3
"""Higher, because the decoder's layers have equalised learning rates: their weights are of size 1."""
MIXED, MAPPED, ATTACKED = 4, 2, 4
"""Pictures a step of mixed codes, of the mapping network's and of attacked faces, beside the batch."""
ATTACK_EPSILON, ATTACK_STEPS = 0.3, 2
ATTACKED_ANSWER = 1.3
"""How far codes of attacked faces are to move, over what the teacher's do: taught 1, a narrow encoder moves less."""
FEATURES_WEIGHT, CODES_WEIGHT = 0.2, 0.2
CHECKPOINT_EVERY = 100
AVERAGE_DECAY = 0.995


def shape_of(tensors: Mapping[str, Tensor]) -> Shape:
    """The shape of the pSp whose ``tensors`` these are."""
    channels = {4: tensors["decoder.input.input"].shape[1]}
    while (weight := tensors.get(f"decoder.convs.{2 * len(channels) - 2}.conv.weight")) is not None:
        channels[4 * 2 ** len(channels)] = weight.shape[1]
    stages: list[Stage] = []
    block = 0
    while (weight := tensors.get(f"encoder.body.{block}.res_layer.1.weight")) is not None:
        inner, width_in = weight.shape[:2]
        width = len(tensors[f"encoder.body.{block}.res_layer.3.weight"])
        if width != width_in:
            stages.append(Stage(width_in, width, 0, inner))
        stages[-1] = stages[-1]._replace(blocks=stages[-1].blocks + 1)
        block += 1
    return Shape(channels, tuple(stages), len(tensors["encoder.styles.0.convs.0.weight"]))


def train(tensors: Mapping[str, Tensor], job: TrainingJob) -> Path:
    """Runs or resumes the training; returns the file of the averaged weights, with its card beside it.

    Args:
        tensors: the finished, wider pSp.
        job: what the harness hands over.
    """
    teacher = open_model(shape_of(tensors))
    teacher.load_state_dict(tensors)
    teacher.eval().requires_grad_(False).to(job.device)
    teacher.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model = copy.deepcopy(teacher)
    shown = job.validation[0].to(job.device)
    model.encoder = narrowed_encoder(teacher.encoder, OPEN_SHAPE, shown)
    model.decoder = narrowed_decoder(teacher.decoder, OPEN_SHAPE, teacher.encode(shown))
    model.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model)
    encoder = model.encoder.requires_grad_(True)
    drawing = nn.ModuleList(part for name, part in model.decoder.named_children() if name != "style")
    drawing.requires_grad_(True)
    optimizer = torch.optim.Adam(
        [
            {"params": list(encoder.parameters()), "peak": ENCODER_RATE},
            {"params": list(drawing.parameters()), "peak": DECODER_RATE},
        ],
        betas=(0.5, 0.99),
    )
    first = 0
    state = job.resume()
    if state is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    for step in range(first, job.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * cosine(step, job.steps)
        parts = _losses(model, teacher, job, step)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        for part in (encoder, drawing):
            nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        optimizer.step()
        update_average(average, model, step, AVERAGE_DECAY)
        reached: dict[str, float] = {}
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == job.steps:
            reached = {name: part.item() for name, part in parts.items()} | validate(average, job)
            state = {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            job.keep(state, step + 1, reached)
        job.report(step + 1, reached)
    return save_weights(job.folder, "psp_open", average.state_dict(), card(job, validate(average, job), tensors))


def card(job: TrainingJob, reached: Mapping[str, float], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What stands beside the weights."""
    assert job.start is not None
    before, after = (
        f"decoder's channels {' '.join(map(str, shape.channels.values()))}, "
        f"encoder's stages {', '.join(f'{s.blocks} x {s.width} ({s.inner} inside)' for s in shape.stages)}, "
        f"{shape.hidden} in its heads"
        for shape in (shape_of(tensors), OPEN_SHAPE)
    )
    return {
        "what": "pSp at 64 pixels: IR-SE encoder, StyleGAN2 decoder with mapping network, average code",
        "data": f"synthetic faces of the shipped generator, {job.steps * job.batch} in all",
        "recipe": f"narrowed from {before} to {after}; then {job.steps} steps of {job.batch} faces, "
        f"Adam {ENCODER_RATE} (decoder {DECODER_RATE}) with cosine decay; manipulators/psp_narrowing.py",
        "command": f"arsbench train psp --steps {job.steps} --batch {job.batch} --seed {job.seed} "
        f"--start {job.start[1]}.safetensors",
        "reached": {"faces": "validation", **{name: round(value, 4) for name, value in reached.items()}},
        "licence": "MIT",
        **job.started_from(),
    }


# --- which channels and blocks stay ----------------------------------------------------------------------------------


@torch.no_grad()
def narrowed_decoder(decoder: StyleGAN2, shape: Shape, codes: Tensor) -> StyleGAN2:
    """A decoder of ``shape`` with those channels of ``decoder`` that do most in drawing ``codes`` [B, n, style].

    Raises:
        ArsbenchError: ``decoder`` has fewer channels.
    """
    channels = shape.channels
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
    return small.eval().requires_grad_(False)


@torch.no_grad()
def narrowed_encoder(encoder: PspEncoder, shape: Shape, x: Tensor) -> PspEncoder:
    """An encoder of ``shape`` with those blocks and inner channels of ``encoder`` that do most for faces ``x``.

    Raises:
        ArsbenchError: ``encoder`` has fewer blocks or channels.
    """
    tensors = encoder.state_dict()
    residuals = [f"body.{i}.res_layer" for i in range(len(encoder.body))]
    watched = [*residuals, *(f"{name}.2" for name in residuals)]
    activations = [name for name, layer in encoder.named_modules() if isinstance(layer, nn.LeakyReLU)]
    squares = mean_squares({name: encoder.get_submodule(name) for name in watched + activations}, lambda: encoder(x))
    source: list[int] = []  # by block of the narrow encoder, that of the wide one
    for (begin, end), stage in zip(pairwise((0, *encoder.ends)), shape.stages, strict=True):
        others = sorted(range(begin + 1, end), key=lambda i: -float(squares[residuals[i]].sum()))
        if len(others) < stage.blocks - 1:
            raise ArsbenchError(
                f"the weights to start from have a stage of {len(others) + 1} blocks where {stage.blocks} are needed; "
                "start from deeper ones"
            )
        source += [begin, *sorted(others[: stage.blocks - 1])]
        for i in source[-stage.blocks :]:
            first, slope, second = (f"{residuals[i]}.{layer}.weight" for layer in (1, 2, 3))
            kept = busiest(squares[f"{residuals[i]}.2"], [(tensors[second], 1)], stage.inner or stage.width)
            keep(tensors, [(first, 0), (slope, 0), (second, 1)], kept)
    for activation in activations:
        convs, _, place = activation.rpartition(".")
        name, reader = (f"{convs}.{int(place) + step}" for step in (-1, 1))
        if f"{reader}.weight" in tensors:  # the last convolution makes the code
            kept = busiest(squares[activation], [(tensors[f"{reader}.weight"], 1)], shape.hidden)
            keep(tensors, [(f"{name}.weight", 0), (f"{name}.bias", 0), (f"{reader}.weight", 1)], kept)
    small = open_model(shape).encoder.to(x.device)
    small.load_state_dict({name: tensors[_renumbered(name, source)] for name in small.state_dict()})
    return small.eval().requires_grad_(False)


def _renumbered(name: str, source: Sequence[int]) -> str:
    part, block, *rest = name.split(".")
    return ".".join([part, str(source[int(block)]), *rest]) if part == "body" else name


# --- training ---------------------------------------------------------------------------------------------------------


def _losses(model: PspModel, teacher: PspModel, job: TrainingJob, step: int) -> dict[str, Tensor]:
    draws = generator(f"step {step}", "psp narrowing", job.seed)
    faces = job.faces(step * job.batch, job.batch)[0].to(job.device)
    z = pad_latents(job.latents(step * job.batch, MAPPED), step).to(job.device)
    with torch.no_grad():
        seen, x = degrade(faces, draws)
        seen = torch.cat([seen, _attacked(teacher, faces[:ATTACKED], draws)])
        seen = seen.contiguous(memory_format=torch.channels_last)
        taught = teacher.encoder.features(seen)
        codes = teacher.encoder.read(taught) + teacher.latent_avg
        untouched = teacher.encode(faces[:ATTACKED])
        codes[len(x) :] = untouched + ATTACKED_ANSWER * (codes[len(x) :] - untouched)
        a, b = codes[torch.randint(len(x), (2, MIXED), generator=draws)]
        mixed = torch.lerp(a, b, torch.rand(MIXED, codes.shape[1], 1, generator=draws).to(codes))
        mapped = teacher.decoder.style(z)[:, None].expand(-1, codes.shape[1], -1)
        drawn = teacher.decoder(torch.cat([codes, mixed, mapped]))
    features = model.encoder.features(seen)
    own = model.encoder.read(features) + model.latent_avg
    y = model.decoder(torch.cat([own, mixed, mapped]))
    wanted = torch.cat([x, drawn[len(x) :]])
    missed = [_relative(f, t) for f, t in zip(features, taught, strict=True)]
    return {
        "features": FEATURES_WEIGHT * torch.stack(missed).mean(),
        "codes": CODES_WEIGHT * _relative(own, codes),
        "wanted": 4 * F.mse_loss(y, wanted) + 1.25 * job.perceptual(y, wanted).mean(),
        "teacher": 4 * F.mse_loss(y, drawn),
    }


def _relative(a: Tensor, taught: Tensor) -> Tensor:
    """Mean squared error over the variance of what is taught among the batch."""
    return F.mse_loss(a, taught) / taught.var(0).mean()


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
