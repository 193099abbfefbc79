"""Rows as a run leaves them, made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from arsbench.rows import COLUMNS

PERTURBATIONS = ("saturation", "contrast", "dropout", "gaussian_blur", "downscale", "jpeg")
STRENGTHS = {
    "none": 0.0,
    "noise": 0.02,
    "brighten": 0.5,
    "shade": 0.55,
    "white": 1.0,
    "fgsm": 0.3,
    "pgd": 0.6,
    "disrupt": 0.7,
    "ars": 0.8,
}


def _make_rows(
    strengths: Mapping[str, float] = STRENGTHS,
    manipulators: Sequence[str] = ("psp-mix", "psp-recon"),
    images: int = 12,
    levels: Sequence[int] = (0, 1, 5),
    perturbations: Sequence[str] = PERTURBATIONS,
    epsilon: float = 0.3,
) -> pd.DataFrame:
    """One row per image and cell with every column of the schema; scores sink with the level, by strength."""
    settings = [("none", 0)] if 0 in levels else []
    settings += [(p, level) for p in perturbations for level in levels if level > 0]
    keys = [
        (protector, manipulator, *setting, f"face-{i:04d}")
        for protector in strengths
        for manipulator in manipulators
        for setting in settings
        for i in range(images)
    ]
    rows = pd.DataFrame(keys, columns=["protector", "manipulator", "perturbation", "level", "image"])
    rng = np.random.default_rng(7)
    strength = rows["protector"].map(strengths) * (1 - 0.06 * rows["level"])
    power = np.clip(strength + 0.2 * strength * rng.standard_normal(len(rows)), 0, None)
    painted = rows["protector"].isin(["none", "noise", "brighten", "shade"])
    rows["epsilon"], rows["condition"] = epsilon, ""
    rows["weights"], rows["trained_on"] = "", ""
    rows["mse"] = 0.3 * power**2
    rows["psnr"] = -10 * np.log10(rows["mse"] / 4 + 1e-8)
    rows["lpips"], rows["ssim"] = 0.5 * power, 1 - 0.6 * power
    rows["sr"] = (rows["mse"] > 0.05).astype(float)
    rows["sr_mask"] = (rows["mse"] > 0.04).astype(float)
    rows["amplification"] = np.where(painted, 0.8, 0.8 + power)
    rows.loc[rows["protector"].isin(["none", "white"]), "amplification"] = np.nan
    rows["unrecovered"] = np.where(painted, 0.05, np.clip(power, 0, 1))
    strict = (rows["sr"] == 1) & (rows["unrecovered"] > 0.25) & (rows["amplification"] > 1)
    rows["sr_strict"] = strict.astype(float)
    rows["seconds"] = np.where(rows["protector"] == "white", np.nan, 0.01 + rows["protector"].str.len() / 100)
    for column in COLUMNS:
        if column.name not in rows:
            rows[column.name] = rows["mse"]
    rows["protected_psnr"] = 18.0
    return rows[[column.name for column in COLUMNS]]


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., pd.DataFrame]:
    """strengths, manipulators, images, levels, perturbations, epsilon -> rows, the same for the same arguments."""
    return _make_rows


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    """A small complete run with all controls. Not to be written to."""
    return _make_rows()
