"""What a manipulator is evaluated with, and the surroundings in which code of a method runs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from arsbench.contracts import Manipulator, Perturbation, Protector
from arsbench.process_state import CPU, Disturbance, thread_undisturbed, undisturbed
from arsbench.running.guard import ModelGuard, about_model, about_settings
from arsbench.running.plan import Image, Plan, Protection
from arsbench.running.references import ReferenceCache
from arsbench.scoring.scorer import Scorer

if TYPE_CHECKING:
    from arsbench.running.made_once import MadeOnce

Part = tuple[Tensor, Sequence[str]]
"""Some pictures of a batch ``[B, 3, H, W]`` and their keys."""
ProtectedPart = tuple[Tensor, list[float]]
"""x_p of a part, and the seconds per image."""


@dataclass(frozen=True)
class Bench:
    """What one manipulator is evaluated with.

    Attributes:
        plan: the run.
        manipulator_name: as in the plan.
        manipulator: the model G.
        protectors: those that are evaluated on this manipulator, each made against the one that its protection says.
        perturbations: by name.
        scorer: the metrics.
        cache: of references.
        recogniser: faces to descriptors, for the identity columns; without one they are NaN.
        made_once: the protected pictures of a transfer run; ``None`` in any other.
        in_a_thread: one of several, so that what they share is looked at elsewhere.
        notes: what a reader should know of the methods, each sentence once.
    """

    plan: Plan
    manipulator_name: str
    manipulator: Manipulator
    protectors: Mapping[Protection, Protector]
    perturbations: Mapping[str, Perturbation]
    scorer: Scorer
    cache: ReferenceCache
    recogniser: nn.Module | None = None
    made_once: MadeOnce | None = None
    in_a_thread: bool = False
    notes: list[str] = field(default_factory=list)

    @functools.cached_property
    def guard(self) -> ModelGuard:
        """The manipulator as it was before anything was done with it."""
        return ModelGuard(self.manipulator)

    def note(self, sentences: Sequence[str]) -> None:
        """Adds those that are new to the notes."""
        self.notes.extend(sentence for sentence in sentences if sentence not in self.notes)


@dataclass(frozen=True)
class Batch:
    """Images of a run with their delivered faces ``[B, 3, H, W]``."""

    images: tuple[Image, ...]
    faces: Tensor

    @property
    def keys(self) -> list[str]:
        """The images' keys."""
        return [image.key for image in self.images]


@dataclass(frozen=True)
class Protected:
    """x_p ``[B, 3, H, W]``, delivered and audited, and its ``protected_*`` and ``seconds`` columns."""

    faces: Tensor
    columns: Mapping[str, list[float]]


@contextlib.contextmanager
def watched(
    bench: Bench,
    who: str,
    device: torch.device = CPU,
    part: Part | None = None,
    seed: int | None = None,
    thorough: bool = False,
) -> Iterator[list[str]]:
    """Code of a method runs in here: what it leaves behind is put back and noted.

    Args:
        bench: whose manipulator is looked at.
        who: the method, for the notes.
        device: see :func:`~arsbench.process_state.undisturbed`.
        part: what a protector is at work on; ``None`` for a manipulator, whose draws are its own affair.
        seed: of the global generators.
        thorough: see :meth:`~arsbench.running.guard.ModelGuard.put_back`.

    Yields:
        What was noted, once the block is left.
    """
    noted: list[str] = []
    if bench.in_a_thread:
        of_thread = Disturbance()
        try:
            with thread_undisturbed() as of_thread:
                yield noted
        finally:
            noted += about_settings(who, of_thread)
            bench.note(noted)
        return
    found: Disturbance | None = None  # an interruption may come before there is one
    try:
        with undisturbed(seed, device, put_generators_back=part is not None) as found:
            yield noted
    finally:
        noted += put_model_back(bench, who, thorough, part)
        if found is not None:
            said = about_settings(who, found)
            known = all(sentence in bench.notes for sentence in said)
            if found.generators and part is not None and not known and _model_draws(bench, part):
                found.generators.clear()
                said = about_settings(who, found)
            noted += said
        bench.note(noted)


def _model_draws(bench: Bench, part: Part) -> bool:
    """Whether it is the manipulator that draws from the global generators: the controls will show it."""
    with contextlib.suppress(Exception, SystemExit), undisturbed(None, part[0].device) as found, torch.no_grad():
        bench.manipulator.manipulate(part[0][:1], part[1][:1])
    return bool(found.generators)


def put_model_back(bench: Bench, who: str, thorough: bool, part: Part | None) -> list[str]:
    """Puts the manipulator back, and says who changed it: a protector, or the manipulator itself."""
    changed = bench.guard.put_back(thorough)
    if not changed:
        return []
    itself = f"manipulator '{bench.manipulator_name}' itself"
    if part is None:
        who = itself
    elif not any(note.startswith(itself) for note in bench.notes):
        with contextlib.suppress(Exception), torch.no_grad():
            bench.manipulator.manipulate(part[0][:1], part[1][:1])
        who = itself if bench.guard.put_back() else who
    else:
        return []
    sentences = about_model(who, bench.manipulator_name, changed)
    bench.note(sentences)
    return sentences
