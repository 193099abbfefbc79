"""Trains the open track's SimSwap on generated faces, against the face recogniser and a discriminator.

Losses as in the paper (Chen et al. 2020, section 3.3): identity - the recogniser's descriptor of the output is the
source's; reconstruction - where source and target are the same face, the output is that face; weak feature matching -
deep features of the discriminator keep the target's attributes; adversarial - hinge, on patches. The paper's alone, at
this size, end in pictures that only the recogniser takes for the source. Generated faces allow more: a swap, too, has
a picture to be reconstructed. A teacher, which knows the z of both faces, learns first to have it drawn by the faces'
own generator: the target's features around, in the middle those of a z near the source's, moved so that the picture
keeps to the target. The generator of swaps then learns to draw the teacher's pictures, and last meets all losses.
Identity is measured on shifted and mirrored pictures, as the squared distance of descriptors in units of the mean one
between two people.
"""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from arsbench.contracts import Pair
from arsbench.draws import generator, seeded
from arsbench.face_networks.loading import load_face_recogniser
from arsbench.manipulators.networks.simswap import SimSwapGenerator
from arsbench.manipulators.simswap import latent_identity, open_generator
from arsbench.training.average import update_average
from arsbench.training.job import TrainingJob
from arsbench.training.loop import Stateful, card, run_steps
from arsbench.weights import load_weights, save_weights

LEARNING_RATE = 1e-3
DISCRIMINATOR_RATE = 5e-4
RECONSTRUCTION_WEIGHT = 10.0
PERCEPTUAL_WEIGHT = 2.0
IDENTITY_WEIGHT = 2.0
FEATURE_WEIGHT = 1.0
ADVERSARIAL_WEIGHT = 0.3
SAME_SHARE = 0.25
"""Share of the batch that is given its own identity."""
DIMMED_SHARE, DIMMED_CONTRAST, DIMMED_SHIFT = 0.33, 0.35, 0.3
"""Share of the faces that are seen, and are to be drawn, with as little contrast and as far brightened or darkened."""
TEACHER_UNTIL, DRAWING_UNTIL = 0.2, 0.7
"""Shares of the steps in which the teacher learns, and after which all losses count."""
TEACHER_IDENTITY_WEIGHT, TEACHER_L1_WEIGHT, TEACHER_PERCEPTUAL_WEIGHT = 1.0, 5.0, 1.0
TEACHER_WIDTH = 512
SHIFT = 3
"""Pixels."""
CHECKPOINT_EVERY = 100
AVERAGE_DECAY = 0.995


class Discriminator(nn.Module):
    """Pictures ``[B, 3, 64, 64]`` -> patch scores; its deeper features serve the weak feature matching."""

    def __init__(self, base: int = 32) -> None:
        super().__init__()
        widths = (3, base, 2 * base, 4 * base)
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in pairwise(widths))
        self.exit = spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The scores, and the features behind them."""
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.exit(x), x


class Teacher(nn.Module):
    """From the z of targets and sources to that of the faces drawn in the middle."""

    def __init__(self, z_size: int = 100, width: int = TEACHER_WIDTH) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in in (2 * z_size, width, width):
            layers += [nn.Linear(n_in, width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.exit = nn.Linear(width, z_size)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)

    def forward(self, targets: Tensor, sources: Tensor) -> Tensor:
        """``[B, 100]`` and ``[B, 100]`` -> ``[B, 100]``, as long as the sources'."""
        moved = sources + self.exit(self.layers(torch.cat([targets, sources], 1))).float()
        out: Tensor = moved * (sources.norm(dim=1, keepdim=True) / moved.norm(dim=1, keepdim=True))
        return out


def train(job: TrainingJob) -> Path:
    """Runs or resumes the training; returns the file of the averaged weights, with its card beside it."""
    with seeded(job.seed):
        network = open_generator()
    with seeded(job.seed):
        judge, teacher = Discriminator(), Teacher()
    if job.start is not None:
        network.load_state_dict(load_weights(*job.start)[0])
    for part in (network, judge):
        part.to(job.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    teacher.to(job.device).train()
    average = copy.deepcopy(network).requires_grad_(False)
    optimizers = [
        torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=(0.5, 0.99)),
        torch.optim.Adam(judge.parameters(), DISCRIMINATOR_RATE, betas=(0.5, 0.99)),
        torch.optim.Adam(teacher.parameters(), LEARNING_RATE),
    ]
    recogniser = load_face_recogniser(job.device)
    drawing, swapping = math.ceil(TEACHER_UNTIL * job.steps), math.ceil(DRAWING_UNTIL * job.steps)

    def step(at: int) -> dict[str, float]:
        rate = decay(at, drawing) if at < drawing else decay(at - drawing, job.steps - drawing)
        for optimizer, peak in zip(optimizers, (LEARNING_RATE, DISCRIMINATOR_RATE, LEARNING_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate
        x = job.faces(at * job.batch, job.batch)[0].to(job.device)
        z, sources = job.latents(at * job.batch, job.batch).to(job.device), sources_of(len(x))
        draws = generator(f"step {at}", "simswap", job.seed)
        if at < drawing:
            return _teacher_step(teacher, optimizers[2], recogniser, (x, z), job, draws)
        with torch.no_grad():
            swapped = job.collage(z, torch.where(keeps_own(sources)[:, None], z, teacher(z, z[sources]))).to(x)
        if at < swapping:
            reached = _draw_step(network, optimizers[0], recogniser, (x, swapped, sources), job)
        else:
            reached = _swap_step(network, judge, optimizers, recogniser, (x, swapped, sources), job, draws)
        update_average(average, network, at - drawing, AVERAGE_DECAY)
        return reached

    kept: dict[str, Stateful] = {"network": network, "average": average, "judge": judge, "teacher": teacher}
    kept |= {f"optimizer{i}": optimizer for i, optimizer in enumerate(optimizers)}
    run_steps(job, kept, step, lambda: validate(average, recogniser, job), CHECKPOINT_EVERY)
    reached = validate(average, recogniser, job)
    return save_weights(job.folder, "simswap_open", average.state_dict(), _card(job, reached))


def sources_of(n: int) -> Tensor:
    """Whose identity each face of the batch is given: the first few their own, the others their neighbour's."""
    same = max(1, round(SAME_SHARE * n))
    return torch.cat([torch.arange(same), same + torch.arange(n - same).roll(1)])


def keeps_own(sources: Tensor) -> Tensor:
    """Which faces of the batch are given their own identity."""
    return sources == torch.arange(len(sources))


def _teacher_step(
    teacher: Teacher,
    optimizer: torch.optim.Adam,
    recogniser: nn.Module,
    faces: tuple[Tensor, Tensor],
    job: TrainingJob,
    draws: torch.Generator,
) -> dict[str, float]:
    x, z = faces
    with job.autocast():
        with torch.no_grad():
            own = recogniser(x).float()
        wanted = own.roll(1, 0)
        y = job.collage(z, teacher(z, z.roll(1, 0))).float()
        identity = identity_distance(recogniser(jitter(y, draws)).float(), wanted, own)
        kept = TEACHER_L1_WEIGHT * F.l1_loss(y, x) + TEACHER_PERCEPTUAL_WEIGHT * job.perceptual(y, x).float().mean()
    descend(TEACHER_IDENTITY_WEIGHT * identity + kept, teacher, optimizer)
    return {"teacher_identity": identity.item(), "teacher_kept": kept.item()}


def _draw_step(
    network: SimSwapGenerator,
    optimizer: torch.optim.Adam,
    recogniser: nn.Module,
    swaps: tuple[Tensor, Tensor, Tensor],
    job: TrainingJob,
) -> dict[str, float]:
    x, wanted, sources = swaps
    with job.autocast():
        with torch.no_grad():
            identity = latent_identity(recogniser, x).float()[sources]
        y = network((x + 1) / 2, identity).float() * 2 - 1
        loss = reconstruction(y, wanted, job)
    descend(loss, network, optimizer)
    return {"reconstruction": loss.item()}


def _swap_step(
    network: SimSwapGenerator,
    judge: Discriminator,
    optimizers: list[torch.optim.Adam],
    recogniser: nn.Module,
    swaps: tuple[Tensor, Tensor, Tensor],
    job: TrainingJob,
    draws: torch.Generator,
) -> dict[str, float]:
    x, wanted, sources = swaps
    dimmed = torch.rand(len(x), generator=draws) < DIMMED_SHARE
    others = (~keeps_own(sources) & ~dimmed).nonzero()[:, 0]
    with job.autocast():
        with torch.no_grad():
            own = recogniser(x).float()
            theirs = own[sources]
            identity = F.normalize(theirs, dim=1) * theirs.shape[1] ** 0.5
            seen, wanted = dim(x, wanted, dimmed, draws)
            features_x = judge(seen)[1].float()
        y = network((seen + 1) / 2, identity).float() * 2 - 1
        scores, features = judge(y)
        described = recogniser(jitter(y[others], draws)).float()
        parts = {
            "reconstruction": reconstruction(y, wanted, job),
            "identity": IDENTITY_WEIGHT * identity_distance(described, theirs[others], own[others]),
            "features": FEATURE_WEIGHT * F.l1_loss(features.float(), features_x),
            "adversarial": -ADVERSARIAL_WEIGHT * scores.float().mean(),
        }
    descend(torch.stack(list(parts.values())).sum(), network, optimizers[0])

    with job.autocast():
        real, fake = judge(torch.cat([seen, y.detach()]))[0].float().chunk(2)
    loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    descend(loss, judge, optimizers[1])
    return {**{name: part.item() for name, part in parts.items()}, "discriminator": loss.item()}


def identity_distance(seen: Tensor, wanted: Tensor, own: Tensor) -> Tensor:
    """Squared distance of descriptors ``[B, 128]`` from those wanted, where that of their own is 1."""
    return (seen - wanted).square().sum(1).mean() / (own - wanted).square().sum(1).mean()


def reconstruction(y: Tensor, x: Tensor, job: TrainingJob) -> Tensor:
    """What pictures ``y`` that are to be ``x`` cost: L1 and LPIPS."""
    loss: Tensor = RECONSTRUCTION_WEIGHT * F.l1_loss(y, x) + PERCEPTUAL_WEIGHT * job.perceptual(y, x).mean()
    return loss


def dim(x: Tensor, wanted: Tensor, dimmed: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Targets and the swaps wanted of them, both alike with less contrast and another brightness where ``dimmed``.

    Without this, brightening a picture of little contrast makes another face of it, which is no protection.
    """
    n = len(x)
    shift = DIMMED_SHIFT * (2 * torch.rand(n, 1, 1, 1, generator=draws) - 1) * dimmed[:, None, None, None]
    scale = 1 - (1 - DIMMED_CONTRAST) * torch.rand(n, 1, 1, 1, generator=draws) * dimmed[:, None, None, None]
    mean = x.mean((1, 2, 3), keepdim=True)
    shift, scale = shift.to(x), scale.to(x)
    seen, drawn = (((v + shift).clamp(-1, 1) - mean) * scale + mean for v in (x, wanted))
    return seen, drawn


def jitter(y: Tensor, draws: torch.Generator) -> Tensor:
    """Shifted by up to SHIFT pixels, and mirrored, or not; all faces alike."""
    down, right, mirrored = torch.randint(-SHIFT, SHIFT + 1, (3,), generator=draws).tolist()
    padded = F.pad(y, (SHIFT,) * 4, mode="replicate").roll((down, right), (2, 3))
    moved: Tensor = padded[..., SHIFT:-SHIFT, SHIFT:-SHIFT]
    return moved.flip(3) if mirrored > 0 else moved


def descend(loss: Tensor, network: nn.Module, optimizer: torch.optim.Adam) -> None:
    """One step of the optimiser, the gradient clipped to length 1."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


@torch.no_grad()
def validate(network: SimSwapGenerator, recogniser: nn.Module, job: TrainingJob) -> dict[str, float]:
    """On the validation faces, each with its neighbour as source: share of swaps nearer to the source, SSIM to x."""
    network.eval()
    x = job.validation[0].to(job.device)
    source = x.roll(1, 0)
    y = (network((x + 1) / 2, latent_identity(recogniser, source)) * 2 - 1).clamp(-1, 1)
    to_source, to_own = ((recogniser(y) - recogniser(face)).norm(dim=1) for face in (source, x))
    ssim = job.metrics["ssim"].measure(Pair(y, x))
    assert ssim is not None
    return {
        "swapped": float((to_source < to_own).float().mean()),
        "to_source": float(to_source.mean()),
        "to_own": float(to_own.mean()),
        "ssim": float(ssim.mean()),
    }


def _card(job: TrainingJob, reached: dict[str, float]) -> dict[str, object]:
    what = "SimSwap at 64 pixels: the generator; identities come from the shipped face recogniser"
    recipe = f"Adam {LEARNING_RATE}, discriminator {DISCRIMINATOR_RATE}; manipulators/training/simswap.py"
    return card(job, "simswap", what, recipe, reached)


def decay(step: int, steps: int) -> float:
    """Warm for 50 steps, constant for the first half, then a cosine down to a twentieth."""
    late = max(0.0, 2 * step / steps - 1)
    return min(1.0, (step + 1) / 50) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * late)))
