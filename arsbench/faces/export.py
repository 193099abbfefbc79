"""Writes the faces of a run as files, for methods that work elsewhere."""

from __future__ import annotations

from pathlib import Path

from arsbench.contracts import ArsbenchError
from arsbench.faces.lossless import check_names, picture_name, write_exact
from arsbench.faces.sources import FaceSource


def export(source: FaceSource, folder: Path) -> list[Path]:
    """Every face as an 8-bit RGB PNG, named by its key; returns the files.

    Raises:
        ArsbenchError: two keys share a name, or the folder holds something else.
    """
    check_names(source.keys)
    wanted = {picture_name(key) for key in source.keys}
    folder.mkdir(parents=True, exist_ok=True)
    strange = sorted(path.name for path in folder.iterdir() if path.name not in wanted)
    if strange:
        raise ArsbenchError(f"{folder} holds {strange[0]}, which is none of these faces; give an empty folder")
    paths = [folder / picture_name(key) for key in source.keys]
    for index, path in enumerate(paths):
        write_exact(path, source.pixels(index))
    return paths
