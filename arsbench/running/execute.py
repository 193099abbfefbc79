"""A run from its settings to its reports' rows: prepare, plan, evaluate, store."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from arsbench.errors import Stopped
from arsbench.folders import give_matplotlib_a_folder
from arsbench.running.again import settings_like
from arsbench.running.engines import crew, local
from arsbench.running.engines.batch_size import batch_size
from arsbench.running.engines.crew import check_crew
from arsbench.running.manifest import Failure, failure_documents
from arsbench.running.plan import Plan
from arsbench.running.prepare import RUNS, Prepared, prepare
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
    """A run was interrupted; what it had computed lies in ``folder``. ``signal`` is set where the system ended it."""

    def __init__(self, folder: Path | None, signal: int | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.signal = signal


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
    crewed = check_crew(settings, keep)
    prepared = prepare(settings, check_folder=keep)
    notes = list(prepared.notes)
    give_matplotlib_a_folder()
    if settings.cache and default_folder() is None:
        notes.append("this account has no home folder, so there is no cache; set XDG_CACHE_HOME to have one")
    for note in notes:
        progress.note(note)
    cache = ReferenceCache(default_folder() if settings.cache else None, writable=keep)
    benches = {name: partial(prepared.bench, name, cache) for name in prepared.plan.manipulators}
    if not keep:
        memory = MemoryStore(prepared.plan)
        with progress:
            failures = local.run(prepared.plan, prepared.source, benches, memory, settings.batch, progress, notes)
        return replace(_outcome(prepared.plan, memory.rows(), failures), notes=notes)

    with RunFolder(folder_of(settings, prepared.plan), prepared.plan, prepared.header()) as store:
        store.update(state="running", starts=[*store.manifest["starts"], _now()])
        try:
            with progress:
                if crewed:
                    store.share(groups=group_sizes(prepared, settings.batch))
                    failures = crew.run(settings, prepared.plan, store, progress, notes)
                else:
                    failures = local.run(
                        prepared.plan, prepared.source, benches, store, settings.batch, progress, notes
                    )
        except KeyboardInterrupt as error:
            number = error.signal if isinstance(error, Stopped) else None
            store.update(state="interrupted" if number is None else "stopped", notes=notes)
            raise Interrupted(store.folder, number) from error
        except BaseException:
            with contextlib.suppress(OSError):  # the disk may be full
                store.update(state="stopped", notes=notes)
            raise
        finally:
            for note in [*store.notes, *cache.notes]:
                progress.note(note)
        cache.trim()
        outcome = finish(prepared.plan, store, failures, [*notes, *store.notes, *cache.notes])
        store.leave()
        return outcome


def lay_out(settings: Settings) -> tuple[Path, Plan]:
    """Checks a run and writes its manifest, for workers to come; computes nothing.

    Returns:
        The run's folder and its plan.

    Raises:
        ArsbenchError: as :func:`arsbench.run`.
    """
    prepared = prepare(settings, check_folder=True)
    with RunFolder(folder_of(settings, prepared.plan), prepared.plan, prepared.header()) as store:
        settings_like(store.folder)  # a worker has no more than the manifest
        store.share(
            groups=group_sizes(prepared, settings.batch), state="planned", starts=[*store.manifest["starts"], _now()]
        )
        return store.folder, prepared.plan


def folder_of(settings: Settings, plan: Plan) -> Path:
    """Where a run lies."""
    return Path(settings.out) if settings.out is not None else RUNS / plan.key


def group_sizes(prepared: Prepared, batch: int | None) -> dict[str, int]:
    """Manipulator -> images of a task: ``batch``, or as many as it is given at a time on this machine."""
    models = {name: prepared.manipulators[name] for name in prepared.plan.manipulators}
    return {name: batch or batch_size(model, prepared.source.size) for name, model in models.items()}


def finish(plan: Plan, store: RunFolder, failures: list[Failure], notes: list[str]) -> Outcome:
    """Writes into the manifest what came of a run whose rows are all stored."""
    outcome = _outcome(plan, store.rows(), failures)
    store.update(
        state="failed" if failures else "finished",
        ended=_now(),
        notes=notes,
        failures=failure_documents(failures),
        void={name: {"void": name in outcome.void, "reason": outcome.void.get(name, "")} for name in plan.manipulators},
    )
    return replace(outcome, folder=store.folder, notes=notes)


def _outcome(plan: Plan, rows: pd.DataFrame, failures: list[Failure]) -> Outcome:
    rows = without_failed(rows, failures)
    verdicts: dict[str, Verdict] = {name: verdict(rows, name) for name in plan.manipulators}
    return Outcome(rows, failures, {name: v.reason for name, v in verdicts.items() if v.void})


def void_sentence(void: Mapping[str, str]) -> str | None:
    """Why a run is void, in one line, or ``None``."""
    return "; ".join(f"{name}: {reason}" for name, reason in void.items()) or None


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
