"""Entries made up: of the right form, with rows and numbers that agree, a hundred in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from arsbench.protocol import protocol
from arsbench.rows import COLUMNS

MANIPULATORS = ("psp-mix", "psp-recon", "simswap", "styleclip")
PERTURBATIONS = ("saturation", "contrast", "dropout", "gaussian_blur", "downscale", "jpeg")
SEVERITIES = (("none", 0), *((name, level) for name in PERTURBATIONS for level in range(1, 6)))
MEANS = ("mse", "psnr", "lpips", "ssim", "sr", "sr_mask", "amplification", "unrecovered", "sr_strict")
PAINTED = ("none", "noise", "brighten", "shade", "white")


def _values(name: str, strength: float, images: int, manipulators: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Metric -> values ``[manipulators, severities, images]``; scores sink with the level."""
    rng = np.random.default_rng(abs(hash_of(name)))
    shape = (len(manipulators), len(SEVERITIES), images)
    level = np.array([level for _, level in SEVERITIES])[None, :, None]
    power = np.clip(strength * (1 - 0.06 * level) + 0.2 * strength * rng.standard_normal(shape), 0, None)
    painted = name in PAINTED
    mse = 0.3 * power**2
    values = {
        "mse": mse,
        "psnr": -10 * np.log10(mse / 4 + 1e-8),
        "lpips": 0.5 * power,
        "ssim": np.clip(1 - 0.6 * power, -1, 1),
        "sr": (mse > 0.05).astype(float),
        "sr_mask": (mse > 0.04).astype(float),
        "amplification": np.full(shape, 0.8) if painted else 0.8 + power,
        "unrecovered": np.full(shape, 0.05) if painted else np.clip(power, 0, 1),
        "protected_psnr": 17 + rng.standard_normal(shape),
        "seconds": 0.01 + 0.001 * rng.random(shape),
    }
    strict = (values["sr"] == 1) & (values["unrecovered"] > 0.25) & (values["amplification"] > 1)
    return values | {"sr_strict": strict.astype(float)}


def hash_of(name: str) -> int:
    """The same in every process."""
    return int.from_bytes(name.encode()[:8].ljust(8), "big")


def _interval(values: np.ndarray, median: bool = False) -> list[float]:
    """``[cells, images]`` -> mean (or median) and a normal interval over images."""
    mean = float(np.median(values) if median else values.mean())
    half = 1.96 * float(values.mean(axis=0).std()) / max(1, values.shape[1] - 1) ** 0.5
    return [mean, mean - half, mean + half]


def write_entry(
    folder: Path,
    name: str,
    strength: float,
    images: int = 100,
    manipulators: tuple[str, ...] = MANIPULATORS,
    verified: int | None = None,
    **changes: Any,
) -> Path:
    """One entry in ``folder/name``; ``changes`` replace keys of its ``entry.json``."""
    path = folder / name
    path.mkdir(parents=True)
    values = _values(name, strength, images, manipulators)
    cells = len(manipulators) * len(SEVERITIES)
    labels = {
        "protector": name,
        "manipulator": np.repeat(manipulators, len(SEVERITIES) * images),
        "perturbation": np.tile(np.repeat([kind for kind, _ in SEVERITIES], images), len(manipulators)),
        "level": np.tile(np.repeat([level for _, level in SEVERITIES], images), len(manipulators)),
        "image": np.tile([f"open/test/{12000 + i}" for i in range(images)], cells),
        "epsilon": changes.get("epsilon", 0.3),
        "condition": "",
        "weights": "",
        "trained_on": "",
    }
    rows = pd.DataFrame(labels | {metric: array.ravel() for metric, array in values.items()})
    for column in COLUMNS:
        if column.name not in rows:
            rows[column.name] = np.nan
    rows[[column.name for column in COLUMNS]].to_parquet(path / "rows.parquet", index=False)
    at_5 = [i for i, (_, level) in enumerate(SEVERITIES) if level == 5]
    aggregates = {}
    for key, of in [("all", range(len(manipulators))), *((m, [i]) for i, m in enumerate(manipulators))]:
        chosen = {metric: array[list(of)][:, at_5] for metric, array in values.items()}
        aggregates[key] = {
            metric: _interval(array.reshape(-1, images), metric == "amplification") for metric, array in chosen.items()
        }
        aggregates[key]["sr_strict_worst"] = _interval(chosen["sr_strict"].min(axis=1))
    by_cell = [
        {
            "manipulator": model,
            "perturbation": kind,
            "level": level,
            **{m: float(np.median(v) if m == "amplification" else v.mean()) for m in MEANS for v in [values[m][i, j]]},
        }
        for i, model in enumerate(manipulators)
        for j, (kind, level) in enumerate(SEVERITIES)
    ]
    document = {
        "format": 1,
        "name": name,
        "authors": ["A. Author", "B. Author"],
        "paper": "https://example.org/paper",
        "code": "",
        "licence": "MIT",
        "method": {"kind": "code", "class": "Mine", "files": {"code/mine.py": "0" * 64}},
        "trained_on": [],
        "track": "open",
        "epsilon": 0.3,
        "seed": 0,
        "images": images,
        "protocol_hash": protocol("open").hash,
        "versions": {"python": "3.11", "torch": "2.13.0"},
        "revision": "0" * 40,
        "rows_sha256": "b" * 64,
        "weights_sha256": {"manipulator psp-mix": "c" * 64},
        "aggregates": aggregates,
        "by_cell": by_cell,
        "cost": {"seconds_per_image": 0.012, "hardware": "2 cores"},
        "flags": [],
        "submitted": "2026-11-25",
        "withdrawn": None,
        **changes,
    }
    (path / "entry.json").write_text(json.dumps(document))
    if verified is not None:
        replayed = ["psp-mix/jpeg/5", "simswap/dropout/3"] if verified else []
        check = {"name": "aggregates", "passed": True, "expected": "within 1e-6", "got": "0"}
        verification = {
            "tier": verified,
            "date": "2026-11-25",
            "seed": 4711 if verified else None,
            "cells": replayed,
            "checks": [check],
            "passed": True,
            "version": "0.1.0",
        }
        (path / "verification.json").write_text(json.dumps([verification]))
    return path


def built_in(name: str) -> dict[str, Any]:
    """The ``method`` of an entry that is one of the package's own."""
    return {"method": {"kind": "code", "class": f"arsbench:{name}", "files": {}}}


def write_controls(folder: Path, **changes: Any) -> None:
    """The controls that stand across the board."""
    for name, strength in (("brighten", 0.5), ("shade", 0.55)):
        write_entry(folder, name, strength, verified=1, **{**built_in(name), **changes})


@pytest.fixture(scope="session")
def entry_maker() -> Callable[..., Path]:
    """:func:`write_entry`."""
    return write_entry


def write_board(folder: Path) -> None:
    """A small board: three that differ, two alike, controls, one of pictures, one withdrawn, one of strange texts."""
    write_controls(folder)
    write_entry(folder, "strong", 0.95, verified=2)
    write_entry(folder, "middle", 0.7, verified=1, trained_on=["jpeg", "dropout"])
    write_entry(folder, "twin-a", 0.82, verified=0)
    write_entry(folder, "twin-b", 0.82)
    write_entry(folder, "weak", 0.2)
    write_entry(folder, f"a-name-as-long-as-may-be-{'x' * 39}", 0.3)
    pictures = {"kind": "pictures", "class": "", "files": {}}
    write_entry(folder, "closed", 0.6, method=pictures, verified=1)
    withdrawn = {"date": "2026-11-24", "reason": "a mistake in the code"}
    write_entry(folder, "taken-back", 0.9, withdrawn=withdrawn)
    write_entry(
        folder,
        "strange",
        0.4,
        authors=["<script>window.harmed = 1</script>", "<img src=x onerror='window.harmed=2'>"],
        paper="javascript:window.harmed=3",
        code='https://example.org/"onmouseover="window.harmed=4',
        flags=[{"name": "saturation", "level": "warning", "what": "</span><script>window.harmed=5</script> 40 %"}],
    )


@pytest.fixture(scope="session")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of :func:`write_board`."""
    folder = tmp_path_factory.mktemp("entries")
    write_board(folder)
    return folder


@pytest.fixture(scope="session")
def site(entries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of :func:`entries`, without pictures."""
    from arsbench.leaderboard.site import build

    out = tmp_path_factory.mktemp("site")
    build(entries, out, faces=0)
    return out
