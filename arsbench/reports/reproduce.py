"""The paper's whole evaluation on the open track: every run, table and figure, in one resumable sequence."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from arsbench import reports
from arsbench.contracts import ArsbenchError
from arsbench.protocol import groups
from arsbench.registry import resolve
from arsbench.reports import gallery
from arsbench.reports.compare import cell_tables, compare, findings_table
from arsbench.reports.run import run_with_reports
from arsbench.reports.selection import in_order
from arsbench.reports.speed import speed_tables
from arsbench.reports.table import Table
from arsbench.reports.tables import tables
from arsbench.reports.tables.table5 import ABLATIONS
from arsbench.running import speed
from arsbench.running.again import changed
from arsbench.running.estimate import estimate
from arsbench.running.execute import void_sentence
from arsbench.running.manifest import MANIFEST, plan_document, read_manifest
from arsbench.running.parts import atomic
from arsbench.running.prepare import prepare
from arsbench.running.progress import NoProgress
from arsbench.running.provenance import PACKAGES, git_revision, version_of
from arsbench.running.results import read_runs
from arsbench.running.settings import Settings
from arsbench.running.store import check_folder

PROTECTORS = "all,ars_tuned"
PSP_MIX = "psp-mix"
FILE = "reproduction.json"


@dataclass(frozen=True)
class Step:
    """One run of the sequence.

    Attributes:
        name: of its folder under ``runs``.
        settings: what it runs.
        tables: that are made from it.
        plots: likewise.
        optional: where its protectors have no weights, its rows of before are used if its controls would be made alike
            today; else it is left out with a sentence.
    """

    name: str
    settings: Settings
    tables: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Reproduction:
    """What the sequence left.

    Attributes:
        folder: where it lies.
        runs: the runs' folders.
        files: the tables and figures.
        void: step -> why it is void.
        failures: what failed, in sentences.
        skipped: step -> why it was left out.
    """

    folder: Path
    runs: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    void: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def steps(
    out: Path, protector: str = PROTECTORS, manipulator: str = "all", images: int | None = None, device: str = "auto"
) -> list[Step]:
    """The runs of the sequence, the longest first.

    Raises:
        ArsbenchError: an unknown name.
    """
    models = [method.name for method in resolve("manipulator", manipulator, groups("manipulator"))]
    one = PSP_MIX if PSP_MIX in models else models[0]
    common = {"protector": protector, "images": images, "device": device}

    def settings(name: str, **own: object) -> Settings:
        return Settings(out=out / "runs" / name, **(common | own))  # type: ignore[arg-type]

    made = [
        Step(
            "robustness", settings("robustness", manipulator=manipulator), ("leaderboard", "6"), ("figure4", "figure5")
        ),
        Step(
            "unperturbed", settings("unperturbed", manipulator=manipulator, epsilon=0.1, level=0), ("1",), ("figure3",)
        ),
        Step(
            "budgets",
            settings("budgets", manipulator=one, epsilon="0.1,0.3,0.5", level=5),
            ("2",),
            ("pareto",),
        ),
    ]
    if len(models) > 1:
        transfer = settings("transfer", manipulator=manipulator, trained_on=manipulator, level=5)
        made.append(Step("transfer", transfer, ("3",), ("transfer",)))
    parts = ",".join(name for name in ABLATIONS if name != "ars")
    made.append(Step("ablations", settings("ablations", protector=parts, manipulator=one), ("5",), optional=True))
    return made


def reproduce(
    out: Path,
    protector: str = PROTECTORS,
    manipulator: str = "all",
    images: int | None = None,
    device: str = "auto",
    progress: Callable[[], NoProgress] = NoProgress,
    note: Callable[[str], None] = lambda sentence: None,
) -> Reproduction:
    """Runs the sequence, or what is left of it, and writes tables, figures and the comparison with the paper.

    Args:
        out: the folder; ``runs``, ``tables``, ``figures`` and the comparison come into it.
        protector: of the runs but the ablations; names as of :func:`arsbench.run`.
        manipulator: likewise.
        images: how many faces; ``None`` for the usual number.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: what is shown of each part.
        note: is told which part begins and how long all that is left will take.

    Raises:
        ArsbenchError: as :func:`arsbench.run`.
        Interrupted: on Ctrl-C; the same call goes on.
    """
    check_folder(out)
    wanted = steps(out, protector, manipulator, images, device)
    made = Reproduction(out)
    todo = {step.name: minutes for step in wanted if (minutes := minutes_of(step, made, progress())) is not None}
    for number, step in enumerate(wanted, 1):
        if step.name in made.skipped:
            note(f"step {number} of {len(wanted)}, {step.name}: left out, {made.skipped[step.name]}")
            continue
        run = out / "runs" / step.name
        if step.name in todo:
            left = sum(todo.values())
            told = f"about {todo[step.name]:.1f} minutes, {left:.1f} in all"
            note(f"step {number} of {len(wanted)}, {step.name}: {told}")
            outcome = run_with_reports(step.settings, progress(), keep=True)
            made.failures.extend(dict.fromkeys(failure.sentence for failure in outcome.failures))
            if void := void_sentence(outcome.void):
                made.void[step.name] = void
            del todo[step.name]
        else:
            note(f"step {number} of {len(wanted)}, {step.name}: done before")
        made.runs.append(run)
        if step.name == "robustness" and not (run / speed.FILE).exists():
            note("timing the protectors")
            speed.measure(run, progress=progress())
    note("tables and figures")
    for step in wanted:
        if step.name not in made.skipped:
            _write_step(out, step, made)
    _write_comparison(out, made)
    _write_manifest(out, protector, manipulator, images, made)
    return made


def minutes_of(step: Step, made: Reproduction, progress: NoProgress) -> float | None:
    """How long a step will take; ``None`` where it is done, or is left out."""
    folder = Path(str(step.settings.out))
    before = read_manifest(folder) if (folder / MANIFEST).exists() else {}
    finished = before.get("state") == "finished"
    try:
        key = prepare(step.settings).plan.key
    except ArsbenchError as error:
        if not step.optional:
            raise
        controls = prepare(replace(step.settings, protector="none")).plan
        if not finished or changed(before, {"plan": plan_document(controls)}):
            made.skipped[step.name] = str(error)
        return None
    return None if finished and before["plan"]["key"] == key else estimate(step.settings, progress).minutes


# --- what is written ------------------------------------------------------------------------------------------------


def _write_step(out: Path, step: Step, made: Reproduction) -> None:
    run = out / "runs" / step.name
    rows, void, _ = read_runs([run])
    if void:
        made.void[step.name] = void
    for kind in step.tables:
        stem = kind if kind == "leaderboard" else f"table{kind}"
        _write_tables(out, stem, tables(kind, rows, bool(made.failures), void), void, made)
    if step.name == "robustness":
        _write_tables(out, "table4", speed_tables(speed.read(run)), void, made)
    for kind in step.plots:
        for suffix in ("png", "pdf"):
            path = out / "figures" / f"{kind}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind in gallery.KINDS:
                shown = ",".join(in_order(set(rows["protector"]))[: gallery.FIGURE4_PROTECTORS])
                made.files.extend(gallery.draw(kind, [run], path, protector=shown))
            else:
                reports.render_plot(kind, rows, path, bool(made.failures), void)
                made.files.append(path)


def _write_tables(out: Path, stem: str, made_tables: Sequence[Table], void: str | None, made: Reproduction) -> None:
    for format, suffix in reports.FORMATS.items():
        path = out / "tables" / f"{stem}.{suffix}"
        _write(path, reports.render_tables(made_tables, format, void))
        made.files.append(path)


def _write_comparison(out: Path, made: Reproduction) -> None:
    rows: pd.DataFrame
    rows, void, _ = read_runs(made.runs)
    found = compare(rows, [entry for run in made.runs for entry in speed.read(run)])
    shown = [*cell_tables(found), findings_table(found)]
    texts = {"md": reports.render_tables(shown, "markdown", void), "tex": reports.render_tables(shown, "latex", void)}
    texts["json"] = json.dumps(found.document(), indent=1) + "\n"
    for suffix, text in texts.items():
        path = out / f"compare-paper.{suffix}"
        _write(path, text)
        made.files.append(path)


def _write_manifest(out: Path, protector: str, manipulator: str, images: int | None, made: Reproduction) -> None:
    command = ["arsbench", "reproduce", "--protector", protector, "--manipulator", manipulator]
    command += ["--images", str(images)] if images is not None else []
    manifests = {run.name: read_manifest(run) for run in made.runs}
    document = {
        "command": shlex.join(command),
        "git_revision": git_revision(),
        "versions": {name: version_of(name) for name in PACKAGES},
        "protocol_hash": sorted({manifest["plan"]["protocol_hash"] for manifest in manifests.values()}),
        "runs": {
            name: {"key": manifest["plan"]["key"], "git_revision": manifest["git_revision"], "ended": manifest["ended"]}
            for name, manifest in manifests.items()
        },
        "void": made.void,
        "failures": made.failures,
        "skipped": sorted(made.skipped),
        "files": sorted(path.relative_to(out).as_posix() for path in made.files),
    }
    _write(out / FILE, json.dumps(document, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        file.write(text.encode())
