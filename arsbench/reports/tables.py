"""The tables: which numbers stand where. Each is made from the rows alone, as data without a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.reports.selection import (
    TO_BEAT,
    controls,
    manipulators,
    methods,
    one_epsilon,
    perturbation_label,
    perturbations,
    require_complete,
    strongest,
)
from arsbench.reports.table import Block, Cell, Column, Row, Table, Value
from arsbench.scoring import statistics
from arsbench.scoring.columns import MEASURED

_BETTER = {column.name: "higher" if column.higher_is_better else "lower" for column in MEASURED}
_LABELS = {
    "mse": "MSE",
    "psnr": "PSNR",
    "lpips": "LPIPS",
    "ssim": "SSIM",
    "sr": "SR",
    "sr_mask": "SR_mask",
    "sr_strict": "sr_strict",
    "amplification": "amplification",
    "unrecovered": "unrecovered",
    "protected_psnr": "protected PSNR",
    "seconds": "s/image",
}
_SHORT = {"amplification": "ampl.", "unrecovered": "unrec.", "protected_psnr": "prot. PSNR"}
_DIGITS = {"mse": 4, "psnr": 2, "protected_psnr": 1, "amplification": 2, "lpips": 4, "ssim": 4, "sr_mask": 3}
_INTERVALS = "± is half the width of the 95 % bootstrap interval over images."


def tables(kind: str, rows: pd.DataFrame, partial: bool = False, void: str | None = None) -> list[Table]:
    """The tables of one kind: one, or one per manipulator.

    Raises:
        ArsbenchError: unknown kind, rows that do not suffice, or (unless ``partial``) missing cells or images.
    """
    if kind not in BUILDERS:
        raise ArsbenchError(f"there is no table '{kind}'; there are: {', '.join(BUILDERS)}")
    require_complete(rows, partial)
    notes: tuple[str, ...] = (f"VOID: {void}. These numbers are not valid.",) if void else ()
    if partial:
        notes += ("Partial: cells or images may be missing; n is the number of images in the smallest cell.",)
    return BUILDERS[kind](rows, partial, notes)


def applies(kind: str, rows: pd.DataFrame) -> bool:
    """Whether the run holds what the table is about: Table 1 level 0, Table 6 a level above it."""
    levels = {int(level) for level in rows["level"]}
    return {"1": 0 in levels, "6": max(levels) > 0}.get(kind, True)


# --- pieces ---------------------------------------------------------------------------------------------------------


def _column(metric: str, interval: bool = False, essential: bool = False) -> Column:
    digits = _DIGITS.get(metric, 3)
    short = _SHORT.get(metric, "")
    return Column(_LABELS[metric], _BETTER[metric], digits, interval=interval, essential=essential, short=short)


def _value(line: Mapping[Any, Any], metric: str) -> Value:
    return Value(float(line[metric]), float(line[f"{metric}_low"]), float(line[f"{metric}_high"]))


def _lines(rows: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> dict[tuple[str, ...], dict[Any, Any]]:
    """A summary's lines by their names."""
    frame = statistics.averages(rows, by, metrics)
    names = (tuple(map(str, key)) for key in frame[list(by)].itertuples(index=False, name=None))
    return dict(zip(names, frame.to_dict("records"), strict=True))


def _setting(rows: pd.DataFrame, level: int | None = None) -> str:
    counts = sorted(set(rows.groupby("manipulator")["image"].nunique()))
    parts = [f"epsilon {one_epsilon(rows):g}", f"{'-'.join(map(str, counts))} images"]
    if level is not None:
        parts.insert(0, f"level {level}" if level else "no perturbation")
    return ", ".join(parts)


def _counted(partial: bool) -> tuple[Column, ...]:
    return (Column("n", essential=True),) if partial else ()


# --- the leaderboard ------------------------------------------------------------------------------------------------

_BOARD = ("mse", "psnr", "lpips", "ssim", "sr", "sr_mask", "amplification", "unrecovered", "protected_psnr", "seconds")
_BOARD_ESSENTIAL = {"sr", "psnr", "seconds"}


def leaderboard(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """The protectors ranked by sr_strict, the controls in a block of their own, unranked.

    Every number is the mean over manipulators, perturbations and images at level 5 (or the strongest level that was
    run; without perturbation if none was).
    """
    rows, level = strongest(rows)
    one_epsilon(rows)
    names, models = methods(rows), manipulators(rows)
    overall = _lines(rows, ("protector",), ("sr_strict", *_BOARD))
    each = _lines(rows, ("protector", "manipulator"), ("sr_strict",)) if len(models) > 1 else {}
    # An interrupted run has protectors whose cells differ; those cannot be ranked.
    ranked = statistics.ranks(rows, protectors=names) if _same_cells(rows, names) else {}
    names.sort(key=lambda name: (ranked.get(name, 0), -overall[(name,)]["sr_strict"]))
    columns = (
        Column("rank", essential=True),
        Column("protector", essential=True),
        _column("sr_strict", interval=True, essential=True),
        *(Column(f"sr_strict {model}", "higher") for model in models if each),
        *(_column(metric, essential=metric in _BOARD_ESSENTIAL) for metric in _BOARD),
        *_counted(partial),
    )

    def row(name: str) -> Row:
        line = overall[(name,)]
        per_model = [each.get((name, model)) for model in models if each]
        cells: list[Cell] = [ranked.get(name), name, _value(line, "sr_strict")]
        cells += [_value(other, "sr_strict") if other else None for other in per_model]
        cells += [_value(line, metric) for metric in _BOARD]
        return Row((*cells, *([int(line["n"])] if partial else [])), _remark(rows, name))

    blocks = [Block(tuple(row(name) for name in names))] if names else []
    there = controls(rows)
    if there:
        blocks.append(Block(tuple(row(name) for name in there), "controls"))
    title = f"Protectors ranked by sr_strict ({_setting(rows, level)})"
    return [
        Table(title, "leaderboard", columns, tuple(blocks), (*_board_notes(rows, level, bool(ranked)), *notes), (), 1)
    ]


def _same_cells(rows: pd.DataFrame, names: Sequence[str]) -> bool:
    cells = rows[rows["protector"].isin(names)].groupby("protector")[["manipulator", "perturbation"]]
    return len({frozenset(map(tuple, group.to_numpy())) for _, group in cells}) <= 1


def _remark(rows: pd.DataFrame, name: str) -> str:
    """Which of the controls to beat a method does not beat by ``sr_strict``, beyond chance."""
    if name not in methods(rows):
        return ""
    rivals = [c for c in controls(rows, TO_BEAT) if _same_cells(rows, (name, c))]
    unbeaten = [rival for rival in rivals if not statistics.compare(rows, name, rival).low > 0]
    return f"does not beat {' and '.join(unbeaten)}" if unbeaten else ""


def _board_notes(rows: pd.DataFrame, level: int, ranked: bool) -> list[str]:
    over = [f"manipulator {', '.join(manipulators(rows))}"]
    if level:
        over.append(f"perturbation {', '.join(perturbations(rows))}")
    amplification = statistics.averages(rows, ("protector",), ("amplification",))["amplification_n"]
    counts = sorted({int(n) for n in amplification if n})
    told = f" (n = {' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))})" if counts else ""
    ranking = "Protectors that a paired bootstrap over the same images cannot tell apart share a rank."
    if not ranked:
        ranking = "Unranked: the protectors were not all run on the same cells."
    if not methods(rows):
        ranking = "No protector was run but the controls."
    return [
        f"Means over images, {' and '.join(over)}; {_INTERVALS}",
        ranking,
        f"Amplification is the median{told}; protected PSNR is of the protected picture, the rest of the outputs.",
    ]


# --- the paper's tables ---------------------------------------------------------------------------------------------


def table1(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """Table 1 of the paper: protection without perturbation, per manipulator."""
    rows = rows[rows["level"] == 0]
    if rows.empty:
        raise ArsbenchError("table 1 is about pictures without perturbation, and the rows have none at level 0")
    metrics = ("mse", "lpips", "ssim", "psnr")
    lines = _lines(rows, ("manipulator", "protector"), metrics)
    shown = [*methods(rows), *controls(rows)]
    blocks = tuple(
        Block(
            tuple(
                _paper_row((model, name), lines[model, name], metrics, partial)
                for name in shown
                if (model, name) in lines
            )
        )
        for model in manipulators(rows)
    )
    columns = (
        Column("manipulator", grouped=True, essential=True),
        Column("protector", essential=True),
        *(_column(metric, interval=True, essential=True) for metric in metrics),
        *_counted(partial),
    )
    title = f"Performance without perturbation ({_setting(rows)})"
    return [Table(title, "table-1", columns, blocks, (_INTERVALS, *notes), (), 1)]


def table4(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """Table 4 of the paper: seconds per image of protecting, a column per manipulator."""
    lines = _lines(rows, ("protector", "manipulator"), ("seconds",))
    models = manipulators(rows)

    def row(name: str) -> Row:
        own = [lines.get((name, model)) for model in models]
        n = [int(line["n"]) for line in own if line] if partial else []
        return Row((name, *(_value(line, "seconds") if line else None for line in own), *([min(n)] if n else [])))

    blocks = [Block(tuple(map(row, methods(rows))))] if methods(rows) else []
    there = controls(rows)
    if there:
        blocks.append(Block(tuple(map(row, there)), "controls"))
    columns = (
        Column("protector", essential=True),
        *(Column(model, "lower", 4, interval=True, essential=True) for model in models),
        *_counted(partial),
    )
    title = f"Seconds per image of protecting ({_setting(rows)})"
    machine = "Times are of the machine that ran this, and of its batches."
    return [Table(title, "table-4", columns, tuple(blocks), (machine, _INTERVALS, *notes))]


def table6(rows: pd.DataFrame, partial: bool = False, notes: tuple[str, ...] = ()) -> list[Table]:
    """Table 6 of the paper: perturbation x protector at level 5 (or the strongest there is), one per manipulator."""
    rows, level = strongest(rows)
    if level == 0:
        raise ArsbenchError("table 6 is about perturbed pictures, and the rows have none above level 0")
    metrics = ("mse", "psnr", "sr", "sr_mask", "sr_strict")
    columns = (
        Column("perturbation", grouped=True, essential=True),
        Column("protector", essential=True),
        *(_column(metric, interval=True, essential=True) for metric in metrics),
        *_counted(partial),
    )
    made = []
    for model in manipulators(rows):
        own = rows[rows["manipulator"] == model]
        lines = _lines(own, ("perturbation", "protector"), metrics)
        shown = [*methods(own), *controls(own, TO_BEAT)]
        blocks = tuple(
            Block(
                tuple(
                    _paper_row((perturbation_label(kind), name), lines[kind, name], metrics, partial)
                    for name in shown
                    if (kind, name) in lines
                )
            )
            for kind in perturbations(own)
        )
        title = f"Protection against {model} for each perturbation ({_setting(own, level)})"
        index = (("manipulator", model),)
        made.append(Table(title, f"table-6-{model}", columns, blocks, (_INTERVALS, *notes), index, 1))
    return made


def _paper_row(names: tuple[str, str], line: Mapping[Any, Any], metrics: Sequence[str], partial: bool) -> Row:
    return Row((*names, *(_value(line, metric) for metric in metrics), *([int(line["n"])] if partial else [])))


BUILDERS: dict[str, Callable[[pd.DataFrame, bool, tuple[str, ...]], list[Table]]] = {
    "leaderboard": leaderboard,
    "1": table1,
    "4": table4,
    "6": table6,
}
