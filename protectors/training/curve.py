"""The curve of a training: every validation as rows of ``curve.csv``, and ``curve.png``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

SHOWN = ("sr_strict", "sr", "amplification", "noise_mse")


class Curve:
    """All validations so far.

    Attributes:
        points: one row per validation and perturbation: step, faces, perturbation, then what was measured.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points: list[dict[str, Any]] = []

    def add(self, step: int, faces: int, rows: list[dict[str, Any]]) -> None:
        """The validation after ``step``; the table is written anew."""
        before = [point for point in self.points if point["step"] != step]
        self.points = [*before, *({"step": step, "faces": faces, **row} for row in rows)]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "curve.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.points[0]))
            writer.writeheader()
            writer.writerows(self.points)

    def newest(self) -> dict[str, float]:
        """The last validation, flat; ``strict`` and ``sr`` are means over the perturbations."""
        rows = [row for row in self.points if row["step"] == self.points[-1]["step"]]
        flat = {
            f"{short}_{row['perturbation']}": round(row[metric], 4)
            for row in rows
            for short, metric in (("strict", "sr_strict"), ("mse", "mse"), ("unrecovered",) * 2, ("amplification",) * 2)
        }
        six = [row for row in rows if row["perturbation"] != "none"]
        means = {short: sum(row[m] for row in six) / len(six) for short, m in (("strict", "sr_strict"), ("sr", "sr"))}
        return {"noise_mse": round(rows[0]["noise_mse"], 4), **flat, **{k: round(v, 4) for k, v in means.items()}}

    def write(self) -> None:
        """The picture: a panel for each of the four that matter, a line for each perturbation."""
        figure = Figure(figsize=(10, 7), layout="constrained")
        for axes, metric in zip(figure.subplots(2, 2).flat, SHOWN, strict=True):
            for name in dict.fromkeys(row["perturbation"] for row in self.points):
                rows = [row for row in self.points if row["perturbation"] == name]
                axes.plot([row["faces"] for row in rows], [row[metric] for row in rows], marker=".", label=name)
            axes.set_title(metric)
            axes.set_xlabel("faces seen")
        figure.axes[0].legend(fontsize="small")
        figure.savefig(self.folder / "curve.png", dpi=100)
