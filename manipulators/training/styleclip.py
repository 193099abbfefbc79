"""Trains the open track's StyleCLIP: the encoder's heads, then the mappers.

The heads (the first part of the steps) learn to reconstruct faces with pSp's frozen body and decoder, by pixels and by
the person; each row is taught by pSp's own and kept close to the first one's w, as e4e's delta loss does (Tov et al.
2021, section 4.2). The mappers learn as StyleCLIP's do (Patashnik et al. 2021, section 5), with the loss of CLIP
replaced by what the edit's name means: the expression network's log-probability of that expression, or an age that is
AGE_STEP years higher; neither is rewarded beyond what makes the edit plain. Beside it stand StyleCLIP's own: identity,
by the face recogniser, and the squared norm of the step in w+.

Training that starts from finished weights goes through both at lower rates. As in pSp's second stage the heads then see
some faces with less contrast and random noise, and are taught what pSp's make of them without.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.draws import generator, seeded
from arsbench.face_networks.expression import CLASSES
from arsbench.face_networks.loading import load_face_age, load_face_expression, load_face_recogniser
from arsbench.manipulators.networks.psp_encoder import E4eEncoder
from arsbench.manipulators.psp import PspModel
from arsbench.manipulators.styleclip import EDITS, StyleClipModel, edited, load_psp
from arsbench.manipulators.training.psp import degrade
from arsbench.training.average import update_average
from arsbench.training.job import TrainingJob
from arsbench.training.loop import Stateful, card, run_steps
from arsbench.weights import load_weights, save_weights

EXPRESSIONS = {"smiling": "happy", "surprised": "surprised", "angry": "angry"}
"""The expression network's class of each edit but ``older``."""
SURE = 0.2
"""An expression's negative log-probability below which there is nothing left to gain."""
AGE_STEP = 12.0
"""Years."""
HEADS_SHARE = 0.65
HEADS_RATE = 2e-3
REFINE_RATE = 5e-4
MAPPER_RATE, MAPPER_REFINE_RATE = 0.3, 0.15
"""High, because the mappers' layers have a learning rate multiplier of 0.01: their weights are of size 100."""
TEACHER_WEIGHT = 0.1
DELTA_WEIGHT = 0.001
HEADS_IDENTITY_WEIGHT = 0.3
IDENTITY_WEIGHT = 8.0
NORM_WEIGHT = 0.5
CHECKPOINT_EVERY = 100
AVERAGE_DECAY = 0.99


class Trainer:
    """The model in training, what it is trained against, and the two kinds of step.

    Args:
        model: heads and mappers.
        job: what the harness hands over.
    """

    def __init__(self, model: StyleClipModel, job: TrainingJob) -> None:
        self.model, self.job = model.to(job.device), job
        self.psp: PspModel = load_psp()[0].to(job.device)
        self.encoder: E4eEncoder = model.encoder(self.psp)
        self.recogniser = load_face_recogniser(job.device)
        self.expression = load_face_expression(job.device)
        self.age = load_face_age(job.device)

    def heads_losses(self, x: Tensor, seen: Tensor | None = None) -> dict[str, Tensor]:
        """What the heads are to bring down, for faces ``x`` [B, 3, 64, 64] seen as ``seen`` or as they are."""
        with torch.no_grad():
            features = clean = self.psp.encoder.features(x)
            if seen is not None:
                features = self.psp.encoder.features(seen)
            taught, person = self.psp.encoder.read(clean), self.recogniser(x)
        rows = self.encoder.read(features)
        y = self.psp.decoder(rows + self.psp.latent_avg)
        return {
            "recon": 4 * F.mse_loss(y, x) + 1.25 * self.job.perceptual(y, x).mean(),
            "teacher": TEACHER_WEIGHT * F.mse_loss(rows, taught),
            "identity": HEADS_IDENTITY_WEIGHT * (self.recogniser(y) - person).float().norm(dim=1).mean(),
            "delta": DELTA_WEIGHT * (rows[:, 1:] - rows[:, :1]).square().sum(2).mean(),
        }

    def mapper_losses(self, x: Tensor) -> dict[str, Tensor]:
        """What the mappers are to bring down; the faces of ``x`` take the edits in turn."""
        edits = [EDITS[i % len(EDITS)] for i in range(len(x))]
        with torch.no_grad():
            codes = self.encoder(x) + self.psp.latent_avg
            age, person = self.age(x), self.recogniser(x)
        moved = edited(codes, edits, self.model.mappers)
        y = self.psp.decoder(moved).float().clamp(-1, 1)
        expressions = [i for i, edit in enumerate(edits) if edit in EXPRESSIONS]
        wanted = torch.tensor([CLASSES.index(EXPRESSIONS[edits[i]]) for i in expressions], device=x.device)
        older = [i for i, edit in enumerate(edits) if edit not in EXPRESSIONS]
        unlikely = F.cross_entropy(self.expression(y[expressions]).float(), wanted, reduction="none")
        return {
            "expression": F.relu(unlikely - SURE).mean(),
            "age": F.relu(age[older] + AGE_STEP - self.age(y[older])).mean() / 5,
            "identity": IDENTITY_WEIGHT * (self.recogniser(y) - person).float().norm(dim=1).mean(),
            "norm": NORM_WEIGHT * (moved - codes).square().sum(2).mean() / codes.square().sum(2).mean(),
        }

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """On the validation faces: reconstruction, and by edit what it gains and how many faces stay themselves."""
        self.model.eval()
        x = self.job.validation[0].to(self.job.device)
        codes = self.encoder(x) + self.psp.latent_avg
        y = self.psp.decoder(codes).clamp(-1, 1)
        mse = (y - x).square().mean((1, 2, 3))
        reached = {
            "psnr": float((-10 * torch.log10(mse / 4 + 1e-8)).mean()),
            "lpips": float(self.job.perceptual(y, x).mean()),
        }
        before = self.recogniser(x)
        for edit in EDITS:
            y = self.psp.decoder(edited(codes, [edit] * len(x), self.model.mappers)).clamp(-1, 1)
            distances = torch.cdist(self.recogniser(y), before)
            others = distances.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), torch.nan)
            reached[f"{edit}_gain"] = float((self._measure(y, edit) - self._measure(x, edit)).mean())
            reached[f"{edit}_kept"] = float((distances.diagonal() < others.nanmedian(1).values).float().mean())
        self.model.train()
        return reached

    def _measure(self, faces: Tensor, edit: str) -> Tensor:
        if edit in EXPRESSIONS:
            return self.expression.probabilities(faces)[:, CLASSES.index(EXPRESSIONS[edit])]
        years: Tensor = self.age(faces)
        return years


def train(job: TrainingJob) -> Path:
    """Runs or resumes the training; returns the file of the averaged weights, with its card beside it."""
    with seeded(job.seed):
        model = StyleClipModel()
    if job.start is not None:
        model.load_state_dict(load_weights(*job.start)[0])
    trainer = Trainer(model, job)
    average = copy.deepcopy(model).requires_grad_(False)
    judge = Trainer(average, job)
    refining = job.start is not None
    heads = round(HEADS_SHARE * job.steps)
    heads_rate, mapper_rate = (REFINE_RATE, MAPPER_REFINE_RATE) if refining else (HEADS_RATE, MAPPER_RATE)
    optimizers = [
        torch.optim.Adam(model.styles.parameters(), heads_rate, betas=(0.5, 0.99)),
        torch.optim.Adam(model.mappers.parameters(), mapper_rate, betas=(0.5, 0.99)),
    ]

    def step(at: int) -> dict[str, float]:
        if at == heads:
            # From here on the codes are those that will be shipped.
            model.styles.load_state_dict(average.styles.state_dict())
        x = job.faces(at * job.batch, job.batch)[0].to(job.device)
        encoding, seen = at < heads, None
        if refining and encoding:
            seen, x = degrade(x, generator(f"step {at}", "styleclip", job.seed))
        with job.autocast():
            parts = trainer.heads_losses(x, seen) if encoding else trainer.mapper_losses(x)
        optimizer = optimizers[0 if encoding else 1]
        begin, end, peak = (0, heads, heads_rate) if encoding else (heads, job.steps, mapper_rate)
        optimizer.param_groups[0]["lr"] = peak * _schedule((at - begin) / (end - begin))
        optimizer.zero_grad(set_to_none=True)
        torch.stack([part.float() for part in parts.values()]).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.styles.parameters() if encoding else model.mappers.parameters(), 1.0)
        optimizer.step()
        update_average(average, model, at if encoding else at - heads, AVERAGE_DECAY)
        return {name: part.item() for name, part in parts.items()}

    kept: dict[str, Stateful] = {"model": model, "average": average, "heads": optimizers[0], "mappers": optimizers[1]}
    run_steps(job, kept, step, judge.validate, CHECKPOINT_EVERY)
    return save_weights(job.folder, "styleclip_open", average.state_dict(), _card(job, judge.validate()))


def _card(job: TrainingJob, reached: dict[str, float]) -> dict[str, object]:
    recipe = f"Adam {HEADS_RATE} for the heads in the first {HEADS_SHARE:.0%}, then {MAPPER_RATE} for the mappers"
    if job.start is not None:
        recipe = (
            f"Adam {REFINE_RATE} for the heads in the first {HEADS_SHARE:.0%}, with noise and less contrast, then "
            f"{MAPPER_REFINE_RATE} for the mappers"
        )
    what = (
        "StyleCLIP at 64 pixels: the e4e encoder's style heads and a latent mapper for each of "
        f"{', '.join(EDITS)}; the encoder's body and the decoder are those of psp_open"
    )
    made = card(job, "styleclip", what, f"{recipe}; manipulators/training/styleclip.py", reached)
    return {**made, "uses": {"psp_open": load_psp()[1]}}


def _schedule(progress: float) -> float:
    """Warm over the first twentieth, then a cosine down to a fiftieth."""
    return min(1.0, 20 * progress + 0.02) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
