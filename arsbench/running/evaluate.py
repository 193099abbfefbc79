"""One batch of images against one manipulator: every protector, perturbation and level, down to the rows.

    x_p   = deliver(P(x, G, epsilon))
    y     = G(deliver(p_l(x)), c)
    y_p   = G(deliver(p_l(x_p)), c)
    score = metrics(y, y_p)

The protector sees groups of a fixed size and the perturbations one image at a time, and the metrics are per image, so
that a row does not depend on which images it was computed with.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from arsbench.contracts import ArsbenchError, Pair, Perturbation
from arsbench.draws import draw
from arsbench.faces.delivery import deliver, from_bytes, other_range, to_bytes
from arsbench.labels import LABELS
from arsbench.process_state import thread_undisturbed, undisturbed
from arsbench.registry import describe
from arsbench.rows import COLUMNS
from arsbench.running.bench import Batch, Bench, Protected, watched
from arsbench.running.guard import about_settings
from arsbench.running.manifest import Failure
from arsbench.running.plan import Protection, Severity
from arsbench.running.protect import protect
from arsbench.running.references import may_cache
from arsbench.running.side_by_side import each, may_go, threads
from arsbench.running.store import Columns
from arsbench.scoring.identity import describe as describe_faces
from arsbench.scoring.metrics import IDENTITY
from arsbench.scoring.scorer import Reference

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

    def add(self, other: Result) -> None:
        """Takes in the rows and failures of another."""
        for name, column in self.columns.items():
            column.extend(other.columns[name])
        self.failures.extend(other.failures)


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
        wanted = {
            severity: {key: value for key, value in protected.items() if severity in todo[key]}
            for severity in bench.plan.severities
        }

        def under(bench: Bench, advance: Callable[[int], None], severity: Severity) -> Result:
            part = Result()
            with _attempt(part, _who(bench, severity), (None, name, *severity.label)):
                _at_severity(bench, batch, severity, source, wanted[severity], part, advance)
            return part

        for part in _of_each(bench, x, [severity for severity in wanted if wanted[severity]], under, advance):
            result.add(part)
    return result


def _of_each(
    bench: Bench,
    x: Tensor,
    severities: Sequence[Severity],
    under: Callable[[Bench, Callable[[int], None], Severity], Result],
    advance: Callable[[int], None],
) -> Iterator[Result]:
    """``under`` of every severity in order, side by side where the methods allow it and the pictures are small."""
    by = {severity.perturbation for severity in severities if severity.level}
    methods = [bench.manipulator, *(bench.perturbations[name] for name in by)]
    alone = _alone(len(severities), threads() if may_go(x, *methods) else 1)
    yield from (under(bench, advance, severity) for severity in severities[:alone])
    rest = severities[alone:]
    if not rest:
        return
    with undisturbed(None, x.device) as found:
        # The last first: codecs, which take longest, so that no core waits long for another at the end.
        made = each(partial(under, replace(bench, in_a_thread=True), advance), rest[::-1])[::-1]
    if found or bench.guard.put_back():  # what the threads share was disturbed: again, where each method is looked at
        made = [under(bench, lambda rows: None, severity) for severity in rest]
    yield from made


def _alone(count: int, cores: int) -> int:
    """Severities that all cores share, one after the other; the others go side by side and leave few cores idle."""
    if cores == 1:
        return count
    over = count % cores
    return over if 2 * over <= cores else 0


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
    px = reference_input(bench, batch, severity, x)
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


def perturb(bench: Bench, severity: Severity, x: Tensor, keys: Sequence[str]) -> Tensor:
    """deliver(p_l(x)) ``[B, 3, H, W]``, computed image by image; x itself at level 0."""
    if severity.parameter is None:
        return x
    perturbation = bench.perturbations[severity.perturbation]
    return perturbed(perturbation, severity.parameter, x, keys, bench.note, bench.in_a_thread)


@torch.no_grad()
def perturbed(
    perturbation: Perturbation,
    parameter: float,
    x: Tensor,
    keys: Sequence[str],
    note: Callable[[Sequence[str]], None] = lambda sentences: None,
    in_a_thread: bool = False,
) -> Tensor:
    """deliver(p(x)) ``[B, 3, H, W]`` of delivered x, computed image by image unless it is ``batch_invariant``.

    ``note`` is given sentences about what the perturbation disturbed; ``in_a_thread``, one of several, that is what
    concerns the thread, and the global generators are not seeded.

    Raises:
        ArsbenchError: the perturbation returned something else than finite pictures of the same shape.
    """
    name = f"perturbation '{perturbation.name}'"
    parts = []
    at_once = len(keys) if getattr(perturbation, "batch_invariant", False) else 1
    for start in range(0, len(keys), at_once):
        part, part_keys = x[start : start + at_once], keys[start : start + at_once]
        seed = draw(part_keys[0], f"perturb {perturbation.name}")
        with thread_undisturbed() if in_a_thread else undisturbed(seed, x.device) as found:
            made = perturbation.perturb(part.clone(), parameter, part_keys)
        note(about_settings(name, found))
        parts.append(_finite(name, made, part, part_keys))
        if wrong := other_range(parts[-1], part):
            raise ArsbenchError(f"{name} returned values that look like {wrong}; it must return pictures in [-1, 1]")
    return deliver(parts[0] if len(parts) == 1 else torch.cat(parts))


@torch.no_grad()
def manipulate(bench: Bench, x: Tensor, keys: Sequence[str], untouched: bool = False) -> Tensor:
    """G(x, c) ``[B, 3, H, W]``, clamped to [-1, 1].

    ``untouched`` says that x are the faces as they are, of which y must not look like pictures of another range.

    Raises:
        ArsbenchError: the manipulator returned something else than finite pictures of the same shape.
    """
    who = f"manipulator '{bench.manipulator_name}'"
    model = bench.manipulator
    low = torch.autocast(model.device.type, torch.bfloat16, enabled=bench.plan.precision == "bfloat16")
    with watched(bench, who), low:
        y = model.manipulate(x.to(model.device).contiguous(memory_format=torch.channels_last), keys)
    y = _finite(who, y, x, keys)
    if untouched and (wrong := other_range(y, x)):
        raise ArsbenchError(f"{who} returned values that look like {wrong}; it must return pictures in [-1, 1]")
    return y.clamp(-1, 1).contiguous()


def reference_input(bench: Bench, batch: Batch, severity: Severity, x: Tensor) -> Tensor:
    """As :func:`perturb` of the faces as they are; from the cache where it has every image of the batch."""
    if severity.level == 0:
        return x
    cell, content_keys = bench.plan.input_key(severity), [image.content_key for image in batch.images]
    pixels = bench.cache.load(cell, content_keys, (*x.shape[2:], x.shape[1]), torch.uint8)
    if pixels is not None:
        return from_bytes(pixels.to(x.device))
    px = perturb(bench, severity, x, batch.keys)
    bench.cache.save(cell, content_keys, to_bytes(px))
    return px


def reference(bench: Bench, batch: Batch, severity: Severity, px: Tensor) -> Tensor:
    """y = G(deliver(p_l(x)), c) ``[B, 3, H, W]``, clamped; from the cache where it has every image of the batch."""
    cell = bench.plan.reference_key(bench.manipulator_name, severity)
    content_keys = [image.content_key for image in batch.images]
    # Without the hash of what it reads, nothing says that it would compute the same again.
    cached = may_cache(bench.manipulator)
    y = bench.cache.load(cell, content_keys, px.shape[1:]) if cached else None
    if y is None:
        y = manipulate(bench, px, batch.keys, untouched=severity.level == 0)
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
    except (torch.OutOfMemoryError, KeyboardInterrupt):
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


def _moved(x: Tensor, device: torch.device) -> Tensor:
    """On the device; to a GPU from pinned memory, so that the copy goes on beside other work."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
