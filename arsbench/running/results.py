"""Several runs as one set of rows, where they may be compared at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.labels import KEY
from arsbench.running.manifest import cell_keys, failures_of, read_manifest
from arsbench.running.store import read_rows


def read_runs(folders: Sequence[Path], partial: bool = False) -> tuple[pd.DataFrame, str | None, list[str]]:
    """The rows of runs together; rows that several runs have (the controls) are the same in each, and stand once.

    Args:
        folders: of the runs.
        partial: also the rows of cells that failed.

    Returns:
        The rows; why a run is void, or ``None``; and sentences about what was left out.

    Raises:
        ArsbenchError: not a run, or runs of different protocols or tracks, with different pictures of one name, or with
            different content keys of one cell.
    """
    manifests = [read_manifest(folder) for folder in folders]
    for name, what in (("protocol_hash", "protocols"), ("track", "tracks")):
        if len({manifest["plan"][name] for manifest in manifests}) > 1:
            raise ArsbenchError(
                f"these runs have different {what} and cannot be compared; run them again with one arsbench"
            )
    _check_the_same(folders, manifests)
    tables, notes, void = [], [], []
    for folder, manifest in zip(folders, manifests, strict=True):
        tables.append(read_rows(folder, failed=partial))
        sentences = dict.fromkeys(failure.sentence for failure in failures_of(manifest))
        if sentences and not partial:
            notes.append(f"cells of {folder} failed and are left out: {'; '.join(sentences)}")
        for name, verdict in manifest.get("void", {}).items():
            if verdict["void"]:
                void.append(f"{name}: {verdict['reason']}")
    rows = tables[0]  # in which each row stands once
    if len(tables) > 1:
        rows = pd.concat(tables, ignore_index=True).drop_duplicates(list(KEY), ignore_index=True)
    if rows.empty:
        raise ArsbenchError(f"there are no rows in {', '.join(map(str, folders))} yet")
    return rows, "; ".join(dict.fromkeys(void)) or None, notes


def _check_the_same(folders: Sequence[Path], manifests: Sequence[Mapping[str, Any]]) -> None:
    """Refuses runs of which one would silently stand for another.

    Raises:
        ArsbenchError: a picture's name stands for other pixels in two runs, or a cell for other code, weights or
            settings.
    """
    pictures: dict[str, tuple[str, Path]] = {}
    cells: dict[Any, tuple[str, Path]] = {}
    for folder, manifest in zip(folders, manifests, strict=True):
        plan = manifest["plan"]
        for image, digest in plan["images"].items():
            there, first = pictures.setdefault(image, (digest, folder))
            if there != digest:
                raise ArsbenchError(
                    f"image '{image}' of {folder} has other pixels than in {first}; give runs of the same pictures"
                )
        for label, key in cell_keys(plan).items():
            there, first = cells.setdefault(label, (key, folder))
            # A ceiling's rows are the same at every budget, though each run's budget is in the key.
            if there != key and label[4]:
                protector, manipulator, perturbation, level, *_ = label
                raise ArsbenchError(
                    f"{first} and {folder} both hold the cell {protector} / {manipulator} / {perturbation} / level "
                    f"{level}, made with other code, weights or settings; give one of them, or run the older again"
                )
