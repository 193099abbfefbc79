"""A run, and the reports that are written from its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from arsbench import reports
from arsbench.running.execute import Outcome, execute, void_sentence
from arsbench.running.progress import NoProgress
from arsbench.running.settings import HUNG_AFTER, Settings
from arsbench.running.work import work_on


def run_with_reports(settings: Settings, progress: NoProgress | None = None, keep: bool | None = None) -> Outcome:
    """:func:`arsbench.running.execute.execute`, and where the run is kept, its summary, tables and figures.

    Raises:
        ArsbenchError: as :func:`arsbench.run`.
        Interrupted: on Ctrl-C; what was computed is stored.
    """
    return _reported(execute(settings, progress, keep))


def work_with_reports(
    run: Path,
    shard: str | None = None,
    cache: bool = True,
    hung_after: float = HUNG_AFTER,
    progress: NoProgress | None = None,
    crew: str | None = None,
) -> Outcome | None:
    """:func:`arsbench.running.work.work_on`, and of the worker that finds the run complete, the reports."""
    outcome = work_on(run, shard, cache, hung_after, progress, crew)
    return None if outcome is None else _reported(outcome)


def _reported(outcome: Outcome) -> Outcome:
    if outcome.folder is None or outcome.rows.empty or (outcome.rows["weights"] == "random").any():
        return outcome
    # A failed protector's cells are left out whole, so what is left is as complete as it will be.
    void = void_sentence(outcome.void)
    return replace(outcome, reports=reports.write(outcome.folder, outcome.rows, bool(outcome.failures), void))
