"""One batch of images against one manipulator: every protector, perturbation and level, down to the rows.

    x_p   = deliver(P(x, G, epsilon))
    y     = G(deliver(p_l(x)), c)
    y_p   = G(deliver(p_l(x_p)), c)
    score = metrics(y, y_p)

The protector and the perturbations see one image at a time and the metrics are per image, so that a row does not
depend on which images it was computed with.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.contracts import ArsbenchError, Manipulator, Pair, Perturbation, Protector
from arsbench.draws import draw, seeded
from arsbench.faces.delivery import audit, deliver
from arsbench.labels import LABELS
from arsbench.registry import describe
from arsbench.rows import COLUMNS
from arsbench.running import side_by_side
from arsbench.running.manifest import Failure
from arsbench.running.plan import Image, Plan, Severity
from arsbench.running.references import ReferenceCache
from arsbench.running.store import Columns
from arsbench.scoring.columns import IMPERCEPTIBILITY
from arsbench.scoring.identity import describe as describe_faces
from arsbench.scoring.metrics import IDENTITY
from arsbench.scoring.scorer import Reference, Scorer

AT_ONCE = 1
"""Images that a protector or perturbation sees at once. A class that says ``batch_invariant = True`` gets the whole
batch: it promises that what it makes of an image is bitwise the same in any batch."""

Todo = Mapping[str, Collection[Severity]]
"""Protector -> the severities that still lack their rows."""

_NAN_FOR_CEILING = ("amplification", "amplification_clean_reference")
_MAY_LACK = ("lpips", "lpips_clean_reference", "protected_lpips", *(metric.name for metric in IDENTITY))


@dataclass(frozen=True)
class Bench:
    """What one manipulator is evaluated with.

    Attributes:
        plan: the run.
        manipulator_name: as in the plan.
        manipulator: the model G.
        protectors: by name, made against this manipulator.
        perturbations: by name.
        scorer: the metrics.
        cache: of references.
        recogniser: faces to descriptors, for the identity columns; without one they are NaN.
    """

    plan: Plan
    manipulator_name: str
    manipulator: Manipulator
    protectors: Mapping[str, Protector]
    perturbations: Mapping[str, Perturbation]
    scorer: Scorer
    cache: ReferenceCache
    recogniser: nn.Module | None = None


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


@dataclass(frozen=True)
class Source:
    """What all protectors share of a batch: x, y = G(x), its features, the conditions' names, the aim's descriptors."""

    x: Tensor
    y_clean: Tensor
    clean: Reference
    conditions: Sequence[str]
    aim: Tensor | None


@dataclass
class Result:
    """Rows, column by column, and what failed."""

    columns: Columns = field(default_factory=lambda: {column.name: [] for column in COLUMNS})
    failures: list[Failure] = field(default_factory=list)


def evaluate(bench: Bench, batch: Batch, todo: Todo, advance: Callable[[int], None] = lambda rows: None) -> Result:
    """The rows of one batch.

    Args:
        bench: the manipulator and all that meets it.
        batch: the images.
        todo: which rows are wanted.
        advance: called with the number of rows that were dealt with.

    Returns:
        The rows of every cell that could be computed, and the failures of the others. What a method raises becomes a
        failure of its own cells and is not raised.

    Raises:
        torch.OutOfMemoryError: the batch does not fit on the device.
    """
    result, name = Result(), bench.manipulator_name
    with _attempt(result, f"manipulator '{name}'", (None, name, None, None)):
        x = deliver(_moved(batch.faces, bench.manipulator.device))
        y_clean = reference(bench, batch, Severity(), x)
        conditions = bench.manipulator.conditions(batch.keys)
        source = Source(x, y_clean, bench.scorer.reference(y_clean), conditions, identify(bench, batch, x))
        protected = {}
        for protector in todo:
            with _attempt(result, f"protector '{protector}'", (protector, name, None, None)):
                protected[protector] = protect(bench, protector, x, batch.keys)
        for severity in bench.plan.severities:
            wanted = {key: value for key, value in protected.items() if severity in todo[key]}
            if wanted:
                with _attempt(result, _who(bench, severity), (None, name, *severity.label)):
                    _at_severity(bench, batch, severity, source, wanted, result, advance)
    return result


def _at_severity(
    bench: Bench,
    batch: Batch,
    severity: Severity,
    source: Source,
    protected: Mapping[str, Protected],
    result: Result,
    advance: Callable[[int], None],
) -> None:
    """The rows of one batch under one severity: the reference once, then every protector against it."""
    x, keys = source.x, batch.keys
    px = perturb(bench, severity, x, keys)
    y = source.y_clean if severity.level == 0 else reference(bench, batch, severity, px)
    scored = source.clean if severity.level == 0 else bench.scorer.reference(y)
    for protector, made in protected.items():
        with _attempt(result, _who(bench, severity), (protector, bench.manipulator_name, *severity.label)):
            if bench.protectors[protector].ceiling:
                px_p, y_p = px, torch.ones_like(y)
            else:
                px_p = perturb(bench, severity, made.faces, keys)
                y_p = manipulate(bench, px_p, keys)
            seen = None if bench.recogniser is None else describe_faces(bench.recogniser, y_p)
            pair = Pair(y, y_p, x, made.faces, source.y_clean, px, px_p, seen, source.aim)
            scores = bench.scorer.score(pair, scored, source.clean)
            _add_rows(result.columns, bench, batch, protector, severity, source.conditions, scores, made)
        advance(len(batch.images))


# --- the stages -----------------------------------------------------------------------------------------------------


def protect(bench: Bench, name: str, x: Tensor, keys: Sequence[str]) -> Protected:
    """x ``[B, 3, H, W]`` -> x_p, delivered and audited, with the seconds per image that the protector took.

    Side by side, where each image has a core of its own, they are that core's seconds; else those on the wall.
    """
    protector = bench.protectors[name]
    if protector.ceiling:
        return Protected(
            x, dict.fromkeys((*(column.name for column in IMPERCEPTIBILITY), "seconds"), [math.nan] * len(keys))
        )
    at_once = _at_once(protector, keys)
    parts = [(x[start : start + at_once], keys[start : start + at_once]) for start in range(0, len(keys), at_once)]
    if _side_by_side(bench, protector, x):
        made = side_by_side.each(lambda part: _protect_part(bench, name, *part, clock=time.thread_time), parts)
    else:
        made = []
        for part, part_keys in parts:
            # One that draws from the global generator, though it should not, still gets draws that are the image's.
            with seeded(draw(part_keys[0], f"protect {name}", protector.seed), x.device):
                made.append(_protect_part(bench, name, part, part_keys, clock=time.perf_counter))
    faces, seconds = zip(*made, strict=True)
    x_p = torch.cat(faces)
    measured = {column: values.tolist() for column, values in bench.scorer.imperceptibility(x, x_p).items()}
    return Protected(x_p, {**measured, "seconds": [value for part in seconds for value in part]})


def _protect_part(
    bench: Bench, name: str, x: Tensor, keys: Sequence[str], clock: Callable[[], float]
) -> tuple[Tensor, list[float]]:
    """x ``[B, 3, H, W]`` -> x_p, delivered and audited, and the seconds per image by the clock."""
    with torch.enable_grad():
        _synchronize(x.device)
        began = clock()
        x_p = bench.protectors[name].protect(x.clone(), keys)
        _synchronize(x.device)
        seconds = [(clock() - began) / len(x)] * len(x)
    return audit(x, x_p, bench.plan.epsilon, name, keys), seconds


def _side_by_side(bench: Bench, protector: Protector, x: Tensor) -> bool:
    """Whether the pictures may be protected in several threads, and are small enough to gain by it."""
    # A subclass has not promised what its base has.
    safe = all(vars(type(method)).get("thread_safe", False) for method in (protector, bench.manipulator))
    return safe and x.device.type == "cpu" and x.shape[-2] * x.shape[-1] <= side_by_side.LARGEST


def perturb(bench: Bench, severity: Severity, x: Tensor, keys: Sequence[str]) -> Tensor:
    """deliver(p_l(x)) ``[B, 3, H, W]``, computed image by image; x itself at level 0."""
    if severity.parameter is None:
        return x
    return perturbed(bench.perturbations[severity.perturbation], severity.parameter, x, keys)


@torch.no_grad()
def perturbed(perturbation: Perturbation, parameter: float, x: Tensor, keys: Sequence[str]) -> Tensor:
    """deliver(p(x)) ``[B, 3, H, W]`` of delivered x, computed image by image unless it is ``batch_invariant``.

    Raises:
        ArsbenchError: the perturbation returned something else than finite pictures of the same shape.
    """
    name = f"perturbation '{perturbation.name}'"
    parts = []
    at_once = _at_once(perturbation, keys)
    for start in range(0, len(keys), at_once):
        part, part_keys = x[start : start + at_once], keys[start : start + at_once]
        parts.append(_finite(name, perturbation.perturb(part.clone(), parameter, part_keys), part, part_keys))
    return deliver(torch.cat(parts))


@torch.no_grad()
def manipulate(bench: Bench, x: Tensor, keys: Sequence[str]) -> Tensor:
    """G(x, c) ``[B, 3, H, W]``, clamped to [-1, 1].

    Raises:
        ArsbenchError: the manipulator returned something else than finite pictures of the same shape.
    """
    model = bench.manipulator
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bench.plan.precision == "bfloat16"):
        y = model.manipulate(x.to(model.device).contiguous(memory_format=torch.channels_last), keys)
    y = _finite(f"manipulator '{bench.manipulator_name}'", y, x, keys)
    return y.clamp(-1, 1).contiguous()


def reference(bench: Bench, batch: Batch, severity: Severity, px: Tensor) -> Tensor:
    """y = G(deliver(p_l(x)), c) ``[B, 3, H, W]``, clamped; from the cache where it has every image of the batch."""
    content_keys = [bench.plan.reference_key(bench.manipulator_name, severity, image) for image in batch.images]
    y = bench.cache.load(content_keys, px.shape[1:])
    if y is None:
        y = manipulate(bench, px, batch.keys)
        bench.cache.save(content_keys, y)
    return y.to(px.device)


def identify(bench: Bench, batch: Batch, x: Tensor) -> Tensor | None:
    """The descriptors of whom the forger aims at ``[B, D]``; ``None`` where the run asks for no identity columns."""
    if bench.recogniser is None:
        return None
    return describe_faces(bench.recogniser, bench.manipulator.aim(x, batch.keys).to(x.device))


# --- rows -----------------------------------------------------------------------------------------------------------


def _add_rows(
    columns: Columns,
    bench: Bench,
    batch: Batch,
    protector: str,
    severity: Severity,
    conditions: Sequence[str],
    scores: Mapping[str, Tensor],
    protected: Protected,
) -> None:
    n = len(batch.images)
    ceiling = bench.protectors[protector].ceiling
    labels: tuple[list[Any], ...] = (
        [protector] * n,
        [bench.manipulator_name] * n,
        [severity.perturbation] * n,
        [severity.level] * n,
        batch.keys,
        [math.nan if ceiling else bench.plan.epsilon] * n,
        list(conditions),
    )
    values: dict[str, list[Any]] = {c.name: list(v) for c, v in zip(LABELS, labels, strict=True)}
    values["weights"] = ["random" if bench.manipulator.random_weights else ""] * n
    values.update({name: score.tolist() for name, score in scores.items()})
    values.update({name: list(column) for name, column in protected.columns.items()})
    if ceiling:
        values.update({name: [math.nan] * n for name in _NAN_FOR_CEILING})
    for name in _MAY_LACK:  # pictures that are too small for LPIPS, a run without identity columns
        values.setdefault(name, [math.nan] * n)
    whole = [values[name] for name in columns]  # a column that lacks must fail before any is longer than the others
    for column, more in zip(columns.values(), whole, strict=True):
        column.extend(more)


# --- what can go wrong ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _attempt(result: Result, who: str, label: tuple[str | None, str | None, str | None, int | None]) -> Iterator[None]:
    """Turns whatever a method raises into a failure of the cells of ``label``: the others go on."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise  # the engine tries fewer images at a time
    except Exception as error:
        if os.environ.get("ARSBENCH_DEBUG") == "1":
            traceback.print_exc(file=sys.stderr)
        sentence = str(error) if isinstance(error, ArsbenchError) else f"{who} failed: {describe(error)}"
        result.failures.append(Failure(sentence, *label))


def _who(bench: Bench, severity: Severity) -> str:
    """Who is at work under a severity, for a sentence about an exception of its own."""
    manipulator = f"manipulator '{bench.manipulator_name}'"
    return manipulator if severity.level == 0 else f"perturbation '{severity.perturbation}' or {manipulator}"


def _finite(who: str, value: object, like: Tensor, keys: Sequence[str]) -> Tensor:
    if not isinstance(value, Tensor):
        raise ArsbenchError(
            f"{who} returned {type(value).__name__} for image '{keys[0]}'; it must return a torch.Tensor"
        )
    if value.shape != like.shape:
        raise ArsbenchError(
            f"{who} returned shape {list(value.shape)} for image '{keys[0]}', where it was given {list(like.shape)}"
        )
    finite = torch.isfinite(value).flatten(1).all(1)
    if not bool(finite.all()):
        bad = keys[int((~finite).nonzero()[0])]
        raise ArsbenchError(f"{who} returned NaN or infinite values for image '{bad}'")
    return value.to(like.device, torch.float32)


def _at_once(method: Protector | Perturbation, keys: Sequence[str]) -> int:
    return len(keys) if getattr(method, "batch_invariant", False) else AT_ONCE


def _moved(x: Tensor, device: torch.device) -> Tensor:
    """On the device; to a GPU from pinned memory, so that the copy goes on beside other work."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
