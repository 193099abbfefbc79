"""The user's copies of FFHQ and VGGFace2, for the paper track: which files are train, validation and test.

A copy is added once; what is kept, under ``$XDG_CACHE_HOME/arsbench/data``, is a manifest of its files with their
split and SHA-256, never a picture. The split is the paper's, 10000, 2000 and 2000 files: those that come first when
the files are ordered by a hash of the split's seed and their path inside the folder. Two labs whose manifests are equal
used the same faces.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from arsbench.contracts import ArsbenchError
from arsbench.draws import draw
from arsbench.faces.folder import list_pictures, named, on_disk
from arsbench.faces.formats import what_it_is
from arsbench.faces.pictures import read_picture
from arsbench.faces.sources import FaceSource, Pixels, pixel_digest
from arsbench.folders import cache_home, find_cache_home

NAMES = ("ffhq", "vggface2")
SPLITS = {"train": 10000, "val": 2000, "test": 2000}
"""Files of each split, in this order; a copy with fewer than their sum is divided in the same proportion."""
SPLIT_SEED = 0
CONDITIONS = 16
"""The first of the validation split are those that conditions are chosen from."""
LEAST = 28


@dataclass(frozen=True)
class Dataset:
    """One copy that was added.

    Attributes:
        name: ``ffhq`` or ``vggface2``.
        folder: where the user keeps it.
        files: split -> the files' paths inside the folder, in order, each with its SHA-256.
    """

    name: str
    folder: Path
    files: dict[str, dict[str, str]]

    @property
    def sha256(self) -> str:
        """Over the splits and the files' hashes, not over where they lie: equal for two labs with the same faces."""
        return hashlib.sha256(json.dumps(self.files).encode()).hexdigest()


def _manifest(name: str) -> Path:
    return cache_home() / "data" / f"{name}.json"


def add(
    name: str,
    folder: Path,
    advance: Callable[[int, int], None] = lambda done, all_: None,
    skip_bad: bool = False,
) -> Dataset:
    """Divides a copy into its splits, hashes its files and keeps the manifest.

    Args:
        name: ``ffhq`` or ``vggface2``.
        folder: with the pictures, in subfolders or not.
        advance: called with the files looked at so far and about how many there are.
        skip_bad: leave out files that cannot be read, instead of refusing the copy.

    Raises:
        ArsbenchError: no such dataset or folder, too few pictures, or files that cannot be read; all of them are named.
    """
    if name not in NAMES:
        raise ArsbenchError(f"there is no dataset '{name}'; the datasets are: {', '.join(NAMES)}")
    if not folder.is_dir():
        raise ArsbenchError(f"there is no folder {folder}; give the folder that holds your copy of {name}")
    path = _manifest(name)
    listing = list_pictures(folder)
    if len(listing.paths) < LEAST:
        raise ArsbenchError(f"{folder} holds {len(listing.paths)} files; {name} needs at least {LEAST} pictures")
    ordered = sorted(listing.paths, key=lambda key: (draw(key, "split", SPLIT_SEED), key))
    hashes: dict[str, str] = {}
    unusable = dict(listing.unusable)
    wanted = list(SPLITS.values())
    for key in ordered:
        if len(hashes) == sum(wanted):
            break
        file = listing.paths[key]
        try:
            read_picture(file, 16)
            hashes[key] = hashlib.sha256(file.read_bytes()).hexdigest()
        except (ArsbenchError, OSError):
            unusable[key] = what_it_is(file)
        advance(len(hashes), min(len(ordered), sum(wanted)))
    if unusable and not skip_bad:
        raise ArsbenchError(
            f"in {folder}, {named(unusable)} cannot be read as pictures ({len(unusable)} file(s)); remove them or skip "
            "them with --skip-bad"
        )
    if len(hashes) < LEAST:
        raise ArsbenchError(f"{folder} holds {len(hashes)} pictures; {name} needs at least {LEAST}")
    if len(hashes) < sum(wanted):
        small = len(hashes) // (sum(wanted) // wanted[-1])
        wanted = [len(hashes) - 2 * small, small, small]
    chosen = iter(hashes.items())
    files = {split: dict(itertools.islice(chosen, count)) for split, count in zip(SPLITS, wanted, strict=True)}
    dataset = Dataset(name, folder.resolve(), files)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"name": name, "folder": str(dataset.folder), "split_seed": SPLIT_SEED, "files": files}
        path.write_text(json.dumps({**document, "sha256": dataset.sha256}, indent=1) + "\n")
    except OSError as error:
        raise ArsbenchError(
            f"the manifest {path} cannot be written ({error}); set XDG_CACHE_HOME to a folder of yours"
        ) from error
    return dataset


def added() -> list[Dataset]:
    """The copies that were added."""
    return [dataset for name in NAMES if (dataset := find(name)) is not None]


def find(name: str) -> Dataset | None:
    """The copy of that name, or ``None``.

    Raises:
        ArsbenchError: its manifest cannot be read.
    """
    if find_cache_home() is None:
        return None
    path = _manifest(name)
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text())
        return Dataset(name, Path(document["folder"]), document["files"])
    except (OSError, ValueError, KeyError) as error:
        raise ArsbenchError(f"the manifest {path} cannot be read; add {name} again") from error


class AddedFaces(FaceSource):
    """The first ``n`` faces of a split of an added copy, resized as :func:`arsbench.faces.sources.read_picture` does.

    Args:
        dataset: the copy.
        split: ``train``, ``val`` or ``test``.
        size: of the track.
        n: how many; ``None`` for all.

    Raises:
        ArsbenchError: the split has not so many, or a file has gone or changed since it was added.
    """

    def __init__(self, dataset: Dataset, split: str, size: int, n: int | None) -> None:
        if split not in dataset.files:
            raise ArsbenchError(f"there is no split '{split}' of the faces; the splits are: {', '.join(SPLITS)}")
        files = dataset.files[split]
        n = len(files) if n is None else n
        if not 1 <= n <= len(files):
            raise ArsbenchError(f"asked for {n} faces of {dataset.name}'s split '{split}', which has {len(files)}")
        self.size = size
        self.paths = list(files)[:n]
        self.keys = [f"{dataset.name}/{split}/{path}" for path in self.paths]
        self._files = on_disk(dataset.folder, self.paths)
        for path, file in self._files.items():
            _check_file(dataset, file, files[path])

    def pixels(self, index: int) -> Pixels:
        """The picture's 8-bit pixels ``[size, size, 3]``."""
        return read_picture(self._files[self.paths[index]], self.size)

    @functools.cache  # noqa: B019 - a source lives as long as its run
    def digest(self, index: int) -> str:
        """SHA-256 of the resized pixels."""
        return pixel_digest(self.pixels(index))


def _check_file(dataset: Dataset, file: Path, sha256: str) -> None:
    again = f"add {dataset.name} again with: arsbench data add {dataset.name} {dataset.folder}"
    if not file.is_file():
        raise ArsbenchError(f"the picture {file} of {dataset.name} is gone; bring it back, or {again}")
    if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        raise ArsbenchError(f"the picture {file} of {dataset.name} has changed since it was added; {again}")
