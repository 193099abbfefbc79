"""A run from its settings to its reports' rows: prepare, plan, evaluate, store."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd

from arsbench.running.engines import local
from arsbench.running.manifest import Failure, failure_documents
from arsbench.running.plan import Plan
from arsbench.running.prepare import RUNS, prepare
from arsbench.running.progress import NoProgress
from arsbench.running.references import ReferenceCache, default_folder
from arsbench.running.settings import Settings
from arsbench.running.store import MemoryStore, RunFolder, without_failed
from arsbench.scoring.controls import Verdict, verdict


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        rows: of all cells that did not fail, one per image and cell, in canonical order.
        failures: cells that failed.
        void: manipulator -> reason, where the controls miss.
        folder: where it lies, or ``None``.
        reports: the files that were written from the rows, see :mod:`arsbench.reports.run`.
        notes: what else happened: a part set aside, a cache that cannot be written.
    """

    rows: pd.DataFrame
    failures: list[Failure]
    void: dict[str, str]
    folder: Path | None = None
    reports: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """What the caller should be told: failures and void manipulators, each once."""
        void = [f"the run is void for manipulator '{name}': {reason}" for name, reason in self.void.items()]
        return list(dict.fromkeys(failure.sentence for failure in self.failures)) + void


class Interrupted(KeyboardInterrupt):
    """A run was interrupted; what it had computed lies in ``folder``."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.folder = folder


def execute(settings: Settings, progress: NoProgress | None = None, keep: bool | None = None) -> Outcome:
    """A run with all that came of it.

    Args:
        settings: what to run.
        progress: what is shown meanwhile.
        keep: whether the run is stored, under ``runs/`` where no folder is given; by default where one is given.

    Raises:
        ArsbenchError: as :func:`arsbench.run`.
        Interrupted: on Ctrl-C; what was computed is stored.
    """
    progress = progress or NoProgress()
    keep = settings.out is not None if keep is None else keep
    prepared = prepare(settings, check_folder=keep)
    cache = ReferenceCache(default_folder() if settings.cache else None, writable=keep)
    benches = {name: partial(prepared.bench, name, cache) for name in prepared.plan.manipulators}
    if not keep:
        memory = MemoryStore(prepared.plan)
        with progress:
            failures = local.run(prepared.plan, prepared.source, benches, memory, settings.batch, progress)
        return _outcome(prepared.plan, memory.rows(), failures)

    folder = Path(settings.out) if settings.out is not None else RUNS / prepared.plan.key
    with RunFolder(folder, prepared.plan, prepared.header()) as store:
        store.update(state="running", starts=[*store.manifest["starts"], _now()])
        try:
            with progress:
                failures = local.run(prepared.plan, prepared.source, benches, store, settings.batch, progress)
        except KeyboardInterrupt as error:
            store.update(state="interrupted")
            raise Interrupted(folder) from error
        finally:
            for note in [*store.notes, *cache.notes]:
                progress.note(note)
        cache.trim()
        outcome = _outcome(prepared.plan, store.rows(), failures)
        store.update(
            state="failed" if failures else "finished",
            ended=_now(),
            failures=failure_documents(failures),
            void={
                name: {"void": name in outcome.void, "reason": outcome.void.get(name, "")}
                for name in prepared.plan.manipulators
            },
        )
    notes = [*store.notes, *cache.notes]
    return Outcome(outcome.rows, failures, outcome.void, folder, notes=notes)


def _outcome(plan: Plan, rows: pd.DataFrame, failures: list[Failure]) -> Outcome:
    rows = without_failed(rows, failures)
    verdicts: dict[str, Verdict] = {name: verdict(rows, name) for name in plan.manipulators}
    return Outcome(rows, failures, {name: v.reason for name, v in verdicts.items() if v.void})


def void_sentence(void: Mapping[str, str]) -> str | None:
    """Why a run is void, in one line, or ``None``."""
    return "; ".join(f"{name}: {reason}" for name, reason in void.items()) or None


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
