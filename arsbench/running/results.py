"""Several runs as one set of rows, where they may be compared at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from arsbench.contracts import ArsbenchError
from arsbench.labels import KEY
from arsbench.running.manifest import failures_of, read_manifest
from arsbench.running.store import read_rows


def read_runs(folders: Sequence[Path], partial: bool = False) -> tuple[pd.DataFrame, str | None, list[str]]:
    """The rows of runs together; rows that several runs have (the controls) are taken from the first.

    Args:
        folders: of the runs.
        partial: also the rows of cells that failed.

    Returns:
        The rows; why a run is void, or ``None``; and sentences about what was left out.

    Raises:
        ArsbenchError: not a run, or runs of different protocols or tracks.
    """
    manifests = [read_manifest(folder) for folder in folders]
    for name, what in (("protocol_hash", "protocols"), ("track", "tracks")):
        if len({manifest["plan"][name] for manifest in manifests}) > 1:
            raise ArsbenchError(
                f"these runs have different {what} and cannot be compared; run them again with one arsbench"
            )
    tables, notes, void = [], [], []
    for folder, manifest in zip(folders, manifests, strict=True):
        tables.append(read_rows(folder, failed=partial))
        sentences = dict.fromkeys(failure.sentence for failure in failures_of(manifest))
        if sentences and not partial:
            notes.append(f"cells of {folder} failed and are left out: {'; '.join(sentences)}")
        for name, verdict in manifest.get("void", {}).items():
            if verdict["void"]:
                void.append(f"{name}: {verdict['reason']}")
    rows = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    rows = rows.drop_duplicates([*KEY, "epsilon"], ignore_index=True)
    if rows.empty:
        raise ArsbenchError(f"there are no rows in {', '.join(map(str, folders))} yet")
    return rows, "; ".join(dict.fromkeys(void)) or None, notes
