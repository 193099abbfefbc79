"""Counts the cells of a run, from its files alone; read without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsbench.running.locks import held
from arsbench.running.manifest import failures_of, read_manifest
from arsbench.running.order import Order
from arsbench.running.parts import part_paths, read_keys


@dataclass(frozen=True)
class Status:
    """Cells of a run, counted.

    Attributes:
        done: every image has its row.
        missing: images are lacking, no failure is known.
        failed: marked failed in the manifest.
        rows: rows stored.
        rows_planned: cells times images.
        state: ``planned``, ``running``, ``finished``, ``interrupted``, ``failed``, or ``stopped``: it ended before it
            was finished, by a signal or in any other way.
        void: reason by manipulator, empty where the run is valid.
        failures: the sentences.
    """

    done: int
    missing: int
    failed: int
    rows: int
    rows_planned: int
    state: str
    void: Mapping[str, str]
    failures: Sequence[str]


def status(run: str | Path) -> Status:
    """Counts the cells of a run: done, missing, failed.

    Raises:
        ArsbenchError: not a run.
    """
    manifest = read_manifest(run)
    order = Order.of_document(manifest["plan"])
    tables = [read_keys(path) for path in part_paths(Path(run))]
    done = order.done([table for table in tables if table is not None])
    failures = failures_of(manifest)
    failed = np.array([any(f.covers(label) for f in failures) for label in order.cells], dtype=bool)
    complete = done.all(axis=1)
    return Status(
        done=int((complete & ~failed).sum()),
        missing=int((~complete & ~failed).sum()),
        failed=int(failed.sum()),
        rows=int(done.sum()),
        rows_planned=done.size,
        state=_state(manifest.get("state", "unknown"), Path(run)),
        void={name: verdict["reason"] for name, verdict in manifest.get("void", {}).items() if verdict["void"]},
        failures=list(dict.fromkeys(f.sentence for f in failures)),
    )


def _state(said: str, folder: Path) -> str:
    """A process that was killed could not say so; workers of a run that was laid out say nothing until it is done."""
    if said == "finished":
        return said
    return "running" if held(folder) else "stopped" if said == "running" else said
