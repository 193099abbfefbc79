"""What a run will take - cells, rows, minutes, disk - from its plan and a short probe; nothing of it is computed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arsbench.contracts import ArsbenchError
from arsbench.running.bench import Batch, Bench
from arsbench.running.engines.local import precise
from arsbench.running.evaluate import evaluate
from arsbench.running.made_once import Maker
from arsbench.running.manifest import holds_part_of, read_manifest
from arsbench.running.plan import Plan, Protection, Severity
from arsbench.running.prepare import RUNS, Prepared, prepare
from arsbench.running.progress import NoProgress
from arsbench.running.protect import protect
from arsbench.running.references import LIMIT, ReferenceCache
from arsbench.running.settings import Settings
from arsbench.running.status import status

Kind = tuple[str, str]
"""A protector, and the manipulator that it is made against; a budget does not change how long it takes."""

PROBED = 25
"""Images of the probe's passes; a pass of few costs more an image than one of many."""
PROTECTED = 4
"""Images that every protector is timed on."""
BYTES_PER_ROW = 64
"""Of a part, compressed; measured on a run of 4000 rows."""
REPORT_SECONDS_PER_CELL = 0.02
"""Of tables and figures; measured, and small beside the rest."""
START_SECONDS = 4.0
"""Of loading."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        cells: in all.
        images: of each cell.
        rows: cells times images.
        rows_done: that the run's folder holds already.
        minutes: for the rest, on this machine as it is now.
        disk_mib: of the run's folder.
        cache_mib: of the references that the run adds to the user's cache, at most.
        probe_seconds: that the estimate itself took.
        folder: where the run would lie.
    """

    cells: int
    images: int
    rows: int
    rows_done: int
    minutes: float
    disk_mib: float
    cache_mib: float
    probe_seconds: float
    folder: str


def estimate(settings: Settings, progress: NoProgress | None = None) -> Estimate:
    """Plans a run and times a few pictures of it.

    References that the cache holds already are not known to the probe: a run that finds them is faster.

    Raises:
        ArsbenchError: as :func:`arsbench.run`; also of a method that fails on the probe's pictures.
    """
    progress = progress or NoProgress()
    prepared = prepare(settings)
    plan = prepared.plan
    folder = Path(settings.out) if settings.out is not None else RUNS / plan.key
    done = _done(folder, plan)
    began = time.perf_counter()
    seconds, timed, made = 0.0, dict[Kind, float](), set[Maker]()
    with progress, precise():
        progress.start(len(plan.manipulators), 0, "manipulators")
        for name in plan.manipulators:
            bench = prepared.bench(name, ReferenceCache(None))
            seconds += _seconds(prepared, bench, plan.protections(name), timed, made)
            progress.advance(1, name)
    probe = time.perf_counter() - began
    rows = len(plan.cells) * len(plan.images)
    left = 1 - done / rows
    fixed = START_SECONDS + REPORT_SECONDS_PER_CELL * len(plan.cells)
    inputs = len(plan.severities) * len(plan.images)
    values = 3 * prepared.source.size**2
    # A reference in float32 per manipulator, and what it was made of in 8 bits.
    each = len(plan.manipulators) * (128 + 4 * values) + 128 + values
    cached = min(LIMIT, inputs * each) if settings.cache else 0
    return Estimate(
        cells=len(plan.cells),
        images=len(plan.images),
        rows=rows,
        rows_done=done,
        minutes=round((seconds * left + fixed) / 60, 3),
        disk_mib=round((rows * BYTES_PER_ROW + 2**20) / 2**20, 1),
        cache_mib=round(cached / 2**20, 1),
        probe_seconds=round(probe, 1),
        folder=str(folder),
    )


def _done(folder: Path, plan: Plan) -> int:
    """The rows that a folder holds of the plan; none where it is not there or holds another run."""
    try:
        return status(folder).rows if holds_part_of(read_manifest(folder)["plan"], plan) else 0
    except ArsbenchError:
        return 0


def _seconds(
    prepared: Prepared, bench: Bench, protections: Sequence[Protection], timed: dict[Kind, float], made: set[Maker]
) -> float:
    """Of everything that is computed for one manipulator; adds to ``timed`` and ``made`` what it protected with."""
    plan = bench.plan
    severities = _middle_levels(plan.severities)
    batch = _batch(prepared, PROBED)
    free = [protection for protection in protections if protection.protector in ("none", "noise")][:2]
    evaluate(bench, _batch(prepared, 2), {free[0]: severities})  # the first passes of a network take longer
    one, two = (_timed(bench, batch, free[:count], severities) for count in (1, 2))
    rows = len(batch.images) * len(severities)
    pair = max(two - one, 0.0) / rows
    reference = max(one / rows - pair, 0.0)
    protecting = 0.0
    few = _batch(prepared, PROTECTED)
    for protection in protections:
        against = protection.trained_on or bench.manipulator_name
        kind, maker = (protection.protector, against), (protection.protector, protection.epsilon, against)
        if bench.made_once is not None and maker in made:
            continue
        made.add(maker)
        if kind not in timed:
            began = time.perf_counter()
            protect(bench, protection, few.faces.to(bench.manipulator.device), few.keys)
            timed[kind] = (time.perf_counter() - began) / len(few.images)
        protecting += timed[kind]
    per_image = protecting + len(plan.severities) * (reference + pair * len(protections))
    return per_image * len(plan.images)


def _timed(bench: Bench, batch: Batch, protections: Sequence[Protection], severities: Sequence[Severity]) -> float:
    began = time.perf_counter()
    result = evaluate(bench, batch, dict.fromkeys(protections, severities))
    if result.failures:
        raise ArsbenchError(result.failures[0].sentence)
    return time.perf_counter() - began


def _middle_levels(severities: Sequence[Severity]) -> list[Severity]:
    """No perturbation, and every perturbation at the middle of its levels."""
    by_name: dict[str, list[Severity]] = {}
    for severity in severities:
        by_name.setdefault(severity.perturbation, []).append(severity)
    return [levels[len(levels) // 2] for levels in by_name.values()]


def _batch(prepared: Prepared, most: int) -> Batch:
    indices = range(min(most, len(prepared.plan.images)))
    return Batch(tuple(prepared.plan.images[i] for i in indices), prepared.source.batch(indices))
