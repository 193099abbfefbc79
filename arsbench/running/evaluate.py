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
from torch import Tensor

from arsbench.contracts import ArsbenchError, Pair, Perturbation, Protector
from arsbench.draws import draw
from arsbench.faces.delivery import audit, deliver, other_range
from arsbench.labels import LABELS
from arsbench.process_state import thread_undisturbed, undisturbed
from arsbench.registry import describe
from arsbench.rows import COLUMNS
from arsbench.running import side_by_side
from arsbench.running.bench import Batch, Bench, Part, Protected, ProtectedPart, put_model_back, watched
from arsbench.running.guard import about_settings
from arsbench.running.manifest import Failure
from arsbench.running.plan import Protection, Severity
from arsbench.running.references import may_cache
from arsbench.running.store import Columns
from arsbench.scoring.columns import IMPERCEPTIBILITY
from arsbench.scoring.identity import describe as describe_faces
from arsbench.scoring.metrics import IDENTITY
from arsbench.scoring.scorer import Reference

AT_ONCE = 1
"""Images that a protector or perturbation sees at once. A class that says ``batch_invariant = True`` gets the whole
batch: it promises that what it makes of an image is bitwise the same in any batch."""

Todo = Mapping[Protection, Collection[Severity]]
"""Protection -> the severities that still lack their rows."""

_NAN_FOR_CEILING = ("amplification", "amplification_clean_reference")
_MAY_LACK = ("lpips", "lpips_clean_reference", "protected_lpips", *(metric.name for metric in IDENTITY))


@dataclass(frozen=True)
class Source:
    """What all protectors share of a batch: x, y = G(x), its features, those of the ceiling's white output where there
    is one, the conditions' names, the aim's descriptors."""

    x: Tensor
    y_clean: Tensor
    clean: Reference
    white: Reference | None
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
    bench.guard  # noqa: B018 - looks at the manipulator before the first method does
    with _attempt(result, f"manipulator '{name}'", (None, name, None, None)):
        x = deliver(_moved(batch.faces, bench.manipulator.device))
        y_clean = reference(bench, batch, Severity(), x)
        with watched(bench, f"manipulator '{name}'"):
            conditions, aim = bench.manipulator.conditions(batch.keys), identify(bench, batch, x)
        ceiling = any(bench.protectors[protection].ceiling for protection in todo)
        white = bench.scorer.reference(torch.ones_like(y_clean)) if ceiling else None
        source = Source(x, y_clean, bench.scorer.reference(y_clean), white, conditions, aim)
        protected = {}
        for protection in todo:
            who = f"protector '{protection.protector}'"
            with _attempt(
                result, who, (protection.protector, name, None, None, protection.epsilon, protection.trained_on)
            ):
                protected[protection] = _protected(bench, protection, x, batch.keys)
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
    protected: Mapping[Protection, Protected],
    result: Result,
    advance: Callable[[int], None],
) -> None:
    """The rows of one batch under one severity: the reference once, then every protector against it."""
    x, keys = source.x, batch.keys
    px = perturb(bench, severity, x, keys)
    y = source.y_clean if severity.level == 0 else reference(bench, batch, severity, px)
    scored = source.clean if severity.level == 0 else bench.scorer.reference(y)
    for protection, made in protected.items():
        protector, epsilon, trained_on = protection
        label = (protector, bench.manipulator_name, *severity.label, epsilon, trained_on)
        with _attempt(result, _who(bench, severity), label):
            white = source.white if bench.protectors[protection].ceiling else None
            if white is not None:
                px_p, y_p = px, white.y
            else:
                px_p = perturb(bench, severity, made.faces, keys)
                y_p = manipulate(bench, px_p, keys)
            seen = None if bench.recogniser is None else describe_faces(bench.recogniser, y_p)
            pair = Pair(y, y_p, x, made.faces, source.y_clean, px, px_p, seen, source.aim)
            scores = bench.scorer.score(pair, scored, source.clean, white, in_range=True)
            _add_rows(result.columns, bench, batch, protection, severity, source.conditions, scores, made)
        advance(len(batch.images))


# --- the stages -----------------------------------------------------------------------------------------------------


def _protected(bench: Bench, protection: Protection, x: Tensor, keys: Sequence[str]) -> Protected:
    """As :func:`protect`; in a transfer run, what was made against the same manipulator before."""
    if bench.made_once is None:
        return protect(bench, protection, x, keys)
    maker = (protection.protector, protection.epsilon, protection.trained_on or bench.manipulator_name)
    return bench.made_once.get(maker, keys, x, lambda: protect(bench, protection, x, keys))


def protect(bench: Bench, protection: Protection, x: Tensor, keys: Sequence[str]) -> Protected:
    """x ``[B, 3, H, W]`` -> x_p, delivered and audited, with the seconds per image that the protector took.

    Side by side, where each image has a core of its own, they are that core's seconds; else those on the wall.
    """
    protector = bench.protectors[protection]
    if protector.ceiling:
        return Protected(
            x, dict.fromkeys((*(column.name for column in IMPERCEPTIBILITY), "seconds"), [math.nan] * len(keys))
        )
    at_once = _at_once(protector, keys)
    parts = [(x[start : start + at_once], keys[start : start + at_once]) for start in range(0, len(keys), at_once)]
    made = _protect_side_by_side(bench, protection, parts) if _side_by_side(bench, protector, x) else None
    faces, seconds = zip(*(made or _protect_in_turn(bench, protection, parts)), strict=True)
    x_p = torch.cat(faces)
    measured = {column: values.tolist() for column, values in bench.scorer.imperceptibility(x, x_p).items()}
    return Protected(x_p, {**measured, "seconds": [value for part in seconds for value in part]})


def _protect_side_by_side(bench: Bench, protection: Protection, parts: Sequence[Part]) -> list[ProtectedPart] | None:
    """Each part in a thread; ``None`` where the method disturbed what the threads share."""

    def protect_part(part: Part) -> ProtectedPart:
        with thread_undisturbed() as found:
            made = _protect_part(bench, protection, *part, clock=time.thread_time)
        bench.note(about_settings(f"protector '{protection.protector}'", found))
        return made

    with watched(
        bench, f"protector '{protection.protector}'", bench.manipulator.device, parts[0], thorough=True
    ) as disturbed:
        made = side_by_side.each(protect_part, parts)
    return None if disturbed else made


def _protect_in_turn(bench: Bench, protection: Protection, parts: Sequence[Part]) -> list[ProtectedPart]:
    """One part after the other."""
    who, device, seed = (
        f"protector '{protection.protector}'",
        bench.manipulator.device,
        bench.protectors[protection].seed,
    )
    for thorough in (False, True):
        made = []
        for part in parts:
            # One that draws from a global generator, though it should not, still gets draws that are the image's.
            seeds = draw(part[1][0], f"protect {protection.protector}", seed)
            with watched(bench, who, device, part, seeds, thorough):
                made.append(_protect_part(bench, protection, *part, clock=time.perf_counter))
        if thorough or not put_model_back(bench, who, True, parts[0]) or len(parts) == 1:
            break
        # What was written past the tensors' versions, the images after it have seen: once more, with every look.
    return made


def _protect_part(
    bench: Bench, protection: Protection, x: Tensor, keys: Sequence[str], clock: Callable[[], float]
) -> ProtectedPart:
    """x ``[B, 3, H, W]`` -> x_p, delivered and audited, and the seconds per image by the clock."""
    with torch.enable_grad():
        _synchronize(x.device)
        began = clock()
        x_p = bench.protectors[protection].protect(x.clone(), keys)
        _synchronize(x.device)
        seconds = [(clock() - began) / len(x)] * len(x)
    budget = bench.plan.epsilons[0] if protection.epsilon is None else protection.epsilon
    return audit(x, x_p, budget, protection.protector, keys), seconds


def _side_by_side(bench: Bench, protector: Protector, x: Tensor) -> bool:
    """Whether the pictures may be protected in several threads, and are small enough to gain by it."""
    # A subclass has not promised what its base has.
    safe = all(vars(type(method)).get("thread_safe", False) for method in (protector, protector.manipulator))
    return safe and x.device.type == "cpu" and x.shape[-2] * x.shape[-1] <= side_by_side.LARGEST


def perturb(bench: Bench, severity: Severity, x: Tensor, keys: Sequence[str]) -> Tensor:
    """deliver(p_l(x)) ``[B, 3, H, W]``, computed image by image; x itself at level 0."""
    if severity.parameter is None:
        return x
    return perturbed(bench.perturbations[severity.perturbation], severity.parameter, x, keys, bench.note)


@torch.no_grad()
def perturbed(
    perturbation: Perturbation,
    parameter: float,
    x: Tensor,
    keys: Sequence[str],
    note: Callable[[Sequence[str]], None] = lambda sentences: None,
) -> Tensor:
    """deliver(p(x)) ``[B, 3, H, W]`` of delivered x, computed image by image unless it is ``batch_invariant``.

    ``note`` is given sentences about what the perturbation disturbed.

    Raises:
        ArsbenchError: the perturbation returned something else than finite pictures of the same shape.
    """
    name = f"perturbation '{perturbation.name}'"
    parts = []
    at_once = _at_once(perturbation, keys)
    for start in range(0, len(keys), at_once):
        part, part_keys = x[start : start + at_once], keys[start : start + at_once]
        with undisturbed(draw(part_keys[0], f"perturb {perturbation.name}"), x.device) as found:
            made = perturbation.perturb(part.clone(), parameter, part_keys)
        note(about_settings(name, found))
        parts.append(_finite(name, made, part, part_keys))
        if wrong := other_range(parts[-1], part):
            raise ArsbenchError(f"{name} returned values that look like {wrong}; it must return pictures in [-1, 1]")
    return deliver(torch.cat(parts))


@torch.no_grad()
def manipulate(bench: Bench, x: Tensor, keys: Sequence[str]) -> Tensor:
    """G(x, c) ``[B, 3, H, W]``, clamped to [-1, 1].

    Raises:
        ArsbenchError: the manipulator returned something else than finite pictures of the same shape.
    """
    model = bench.manipulator
    low = torch.autocast(model.device.type, torch.bfloat16, enabled=bench.plan.precision == "bfloat16")
    with watched(bench, f"manipulator '{bench.manipulator_name}'"), low:
        y = model.manipulate(x.to(model.device).contiguous(memory_format=torch.channels_last), keys)
    y = _finite(f"manipulator '{bench.manipulator_name}'", y, x, keys)
    return y.clamp(-1, 1).contiguous()


def reference(bench: Bench, batch: Batch, severity: Severity, px: Tensor) -> Tensor:
    """y = G(deliver(p_l(x)), c) ``[B, 3, H, W]``, clamped; from the cache where it has every image of the batch."""
    cell = bench.plan.reference_key(bench.manipulator_name, severity)
    content_keys = [image.content_key for image in batch.images]
    # Without the hash of what it reads, nothing says that it would compute the same again.
    cached = may_cache(bench.manipulator)
    y = bench.cache.load(cell, content_keys, px.shape[1:]) if cached else None
    if y is None:
        y = manipulate(bench, px, batch.keys)
        if cached:
            bench.cache.save(cell, content_keys, y)
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
    protection: Protection,
    severity: Severity,
    conditions: Sequence[str],
    scores: Mapping[str, Tensor],
    protected: Protected,
) -> None:
    n = len(batch.images)
    ceiling = bench.protectors[protection].ceiling
    labels: tuple[list[Any], ...] = (
        [protection.protector] * n,
        [bench.manipulator_name] * n,
        [severity.perturbation] * n,
        [severity.level] * n,
        batch.keys,
        [math.nan if protection.epsilon is None or ceiling else protection.epsilon] * n,
        list(conditions),
    )
    values: dict[str, list[Any]] = {c.name: list(v) for c, v in zip(LABELS, labels, strict=True)}
    values["weights"] = ["random" if bench.manipulator.random_weights else ""] * n
    values["trained_on"] = [protection.trained_on] * n
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
def _attempt(result: Result, who: str, label: tuple[Any, ...]) -> Iterator[None]:
    """Turns whatever a method raises into a failure of the cells of ``label``, as :class:`Failure` takes it."""
    try:
        yield
    except (torch.OutOfMemoryError, KeyboardInterrupt, GeneratorExit):
        raise  # the engine tries fewer images at a time; a user or the system stops the run
    except BaseException as error:  # a method may call sys.exit(), too
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
    if not bool(torch.isfinite(value.sum())):  # one look at all; a sum may overflow where no value is infinite
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
