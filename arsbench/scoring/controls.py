"""The controls of every run, and the verdict that they pass on it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

CONTROLS = ("none", "noise", "brighten", "shade", "white")
"""In every run, named or not."""

NONE_MSE = 1e-9
"""Above it for ``none``, the manipulator, or a perturbation, is not deterministic."""

NOISE_SR = 0.05
"""From it on for ``noise`` without perturbation, success means nothing."""


@dataclass(frozen=True)
class Verdict:
    """Whether what a run says about one manipulator is void, and why."""

    void: bool
    reason: str = ""


def verdict(rows: pd.DataFrame, manipulator: str) -> Verdict:
    """Judges the rows of one manipulator by its controls ``none`` and ``noise``."""
    of_manipulator = rows.loc[rows["manipulator"] == manipulator, ["protector", "perturbation", "level", "mse", "sr"]]
    none = of_manipulator[of_manipulator["protector"] == "none"]
    noise = of_manipulator[(of_manipulator["protector"] == "noise") & (of_manipulator["level"] == 0)]
    reasons = []
    if none.empty or noise.empty:
        reasons.append("its controls are missing")
    # Written so that a NaN misses, too.
    unlike = none[~(none["mse"] <= NONE_MSE)]
    if not unlike.empty:
        names = sorted(set(unlike["perturbation"]))
        # Where it draws the same without perturbation, it is what came before that does not.
        who = "it is" if "none" in names else f"perturbation {' and '.join(map(repr, names))} is"
        reasons.append(
            f"control 'none' reaches an mse of {unlike['mse'].max():.3g}, above {NONE_MSE:g}: {who} not deterministic"
        )
    if not noise.empty and not noise["sr"].mean() < NOISE_SR:
        reasons.append(
            f"control 'noise' reaches an SR of {noise['sr'].mean():.3g} without perturbation, not under {NOISE_SR:g}"
        )
    return Verdict(bool(reasons), "; ".join(reasons))
