"""What the tables share: the metrics as columns, summaries as cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from arsbench.reports.selection import budgets
from arsbench.reports.table import Cell, Column, Row, Value
from arsbench.scoring import statistics
from arsbench.scoring.columns import MEASURED
from arsbench.scoring.controls import CONTROLS

BETTER = {column.name: "higher" if column.higher_is_better else "lower" for column in MEASURED}
_OF_A_BOARD = ("sr_strict_worst", "sr_strict_attacked", "sr_strict_worst_known")
BETTER |= dict.fromkeys(_OF_A_BOARD, "higher")
LABELS = {
    "mse": "MSE",
    "psnr": "PSNR",
    "lpips": "LPIPS",
    "ssim": "SSIM",
    "sr": "SR",
    "sr_mask": "SR_mask",
    "sr_strict": "sr_strict",
    **{name: name for name in _OF_A_BOARD},
    "amplification": "amplification",
    "unrecovered": "unrecovered",
    "protected_psnr": "protected PSNR",
    "seconds": "s/image",
}
_SHORT = {
    "amplification": "ampl.",
    "unrecovered": "unrec.",
    "protected_psnr": "prot. PSNR",
    "sr_strict_worst": "worst",
    "sr_strict_attacked": "attacked",
}
_DIGITS = {"mse": 4, "psnr": 2, "protected_psnr": 1, "amplification": 2, "lpips": 4, "ssim": 4, "sr_mask": 3}
INTERVALS = "± is half the width of the 95 % bootstrap interval over images."


def column(metric: str, interval: bool = False, essential: bool = False) -> Column:
    """The column of a metric."""
    digits = _DIGITS.get(metric, 3)
    short = _SHORT.get(metric, "")
    return Column(LABELS[metric], BETTER[metric], digits, interval=interval, essential=essential, short=short)


def value(line: Mapping[Any, Any], metric: str) -> Value:
    """A summary's number with its interval."""
    return Value(float(line[metric]), float(line[f"{metric}_low"]), float(line[f"{metric}_high"]))


def lines(rows: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> dict[tuple[str, ...], dict[Any, Any]]:
    """A summary's lines by their names."""
    frame = statistics.averages(rows, by, metrics)
    names = (tuple(map(str, key)) for key in frame[list(by)].itertuples(index=False, name=None))
    return dict(zip(names, frame.to_dict("records"), strict=True))


def images(rows: pd.DataFrame) -> str:
    """How many images there are, in words."""
    counts = sorted(set(rows.groupby("manipulator")["image"].nunique()))
    return f"{'-'.join(map(str, counts))} images"


def setting(rows: pd.DataFrame, level: int | None = None) -> str:
    """Level, budget and number of images, for a title."""
    parts = [f"epsilon {', '.join(f'{epsilon:g}' for epsilon in budgets(rows)) or '–'}", images(rows)]
    if level is not None:
        parts.insert(0, f"level {level}" if level else "no perturbation")
    return ", ".join(parts)


def counted(partial: bool) -> tuple[Column, ...]:
    """The column ``n`` of a partial table."""
    return (Column("n", essential=True),) if partial else ()


def paper_row(names: tuple[str, str], line: Mapping[Any, Any], metrics: Sequence[str], partial: bool) -> Row:
    """A line of one of the paper's tables: two names, the second the protector's, and a number for every metric."""
    cells: tuple[Cell, ...] = (
        *names,
        *(value(line, metric) for metric in metrics),
        *([int(line["n"])] if partial else []),
    )
    return Row(cells, compared=names[1] not in CONTROLS)
