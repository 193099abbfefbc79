"""A folder of the user's own pictures."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from arsbench.contracts import ArsbenchError
from arsbench.faces.formats import what_it_is
from arsbench.faces.pictures import read_picture
from arsbench.faces.sources import FaceSource, Pixels, pixel_digest

IGNORED_NAMES = {"thumbs.db", "desktop.ini"}
"""Files that desktops leave among pictures; hidden files are ignored, too."""


class FolderFaces(FaceSource):
    """The pictures of a folder and its subfolders, in the order of their keys: their paths, in Unicode's form NFC.

    Any size and mode; see :func:`to_rgb` and :func:`read_picture` for what becomes of them. Each file is opened once
    before anything else is done with the folder; pixels are read again batch by batch and never kept.

    Args:
        folder: where the pictures are. Hidden files and folders are left out, linked folders are not.
        size: height and width that the faces are brought to.
        skip_bad: leave out files that cannot be read, instead of refusing the folder.
        n: how many pictures at most; all of them if left out.

    Attributes:
        skipped: the files that were left out, relative to the folder.

    Raises:
        ArsbenchError: no such folder, no readable picture in it, or, without ``skip_bad``, a file that is none; all
            of them are named.
    """

    def __init__(self, folder: Path | str, size: int, skip_bad: bool = False, n: int | None = None) -> None:
        self.folder = Path(folder)
        self.size = size
        self.keys: list[str] = []
        self._paths: list[Path] = []
        self._digests: list[str] = []
        if not self.folder.is_dir():
            raise ArsbenchError(f"there is no folder {self.folder}; --faces takes a folder of pictures")
        if n is not None and n < 1:
            raise ArsbenchError(f"asked for {n} pictures of {self.folder}; ask for at least one")
        listing = list_pictures(self.folder)
        unusable = dict(listing.unusable)
        for key, path in listing.paths.items():
            if len(self.keys) == n:
                break
            try:
                digest = pixel_digest(read_picture(path, size))
            except ArsbenchError:
                unusable[key] = what_it_is(path)
                continue
            self.keys.append(key)
            self._paths.append(path)
            self._digests.append(digest)
        self.skipped = sorted(unusable)
        if self.skipped and not skip_bad:
            raise ArsbenchError(
                f"{len(self.skipped)} file(s) in {self.folder} cannot be read as pictures: {named(unusable)}; "
                "remove them or skip them with --skip-bad"
            )
        if not self.keys:
            raise ArsbenchError(f"there are no readable pictures in {self.folder}; --faces takes a folder of pictures")

    def pixels(self, index: int) -> Pixels:
        """The picture as read now, ``[size, size, 3]``."""
        return read_picture(self._paths[index], self.size)

    def digest(self, index: int) -> str:
        """The digest of the picture as it was when the folder was opened."""
        return self._digests[index]


@dataclass
class Listing:
    """The files of a folder that may be pictures.

    Attributes:
        paths: key -> where it lies, in the order of the keys.
        unusable: what can be no picture of a run, as it is named to the user -> why, where there is more to say.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    unusable: dict[str, str | None] = field(default_factory=dict)


def list_pictures(folder: Path) -> Listing:
    """Every file of a folder and its subfolders that may be a picture.

    Linked folders are followed, after all others, and each folder is looked into once: a link that leads back ends
    there.
    """
    listing = Listing()
    for path in _files(folder, listing):
        said = path.relative_to(folder).as_posix()
        try:
            key = unicodedata.normalize("NFC", said)
            key.encode()
        except UnicodeEncodeError:
            listing.unusable[os.fsencode(said).decode("utf-8", "backslashreplace")] = "its name is not UTF-8; rename it"
            continue
        if key in listing.paths:
            listing.unusable[key] = "two files have this name, in two Unicode forms; rename one"
        else:
            listing.paths[key] = path
    listing.paths = {key: listing.paths[key] for key in sorted(listing.paths) if key not in listing.unusable}
    return listing


def _files(folder: Path, listing: Listing) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    waiting: list[Path] = [folder]
    linked: list[Path] = []
    while waiting or linked:
        place = waiting.pop() if waiting else linked.pop(0)
        try:
            facts = place.stat()
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            listing.unusable[place.relative_to(folder).as_posix() + "/"] = error.strerror
            continue
        if (facts.st_dev, facts.st_ino) in seen:
            continue
        seen.add((facts.st_dev, facts.st_ino))
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in IGNORED_NAMES:
                continue
            path = Path(entry.path)
            if path.is_dir():
                (linked if entry.is_symlink() else waiting).append(path)
            elif path.is_file():
                yield path
            elif entry.is_symlink():
                listing.unusable[path.relative_to(folder).as_posix()] = "a link to nothing"


def named(unusable: dict[str, str | None]) -> str:
    """Files in the order of their names, each with what is known of it."""
    return ", ".join(f"{name} ({why})" if why else name for name, why in sorted(unusable.items()))


def on_disk(folder: Path, keys: Iterable[str]) -> dict[str, Path]:
    """Where the files of these keys lie, whichever Unicode form their names have there; a missing one by its key."""
    listed: dict[str, Path] | None = None
    found = {}
    for key in keys:
        path = folder / key
        if not key.isascii() and not path.is_file():
            listed = list_pictures(folder).paths if listed is None else listed
            path = listed.get(key, path)
        found[key] = path
    return found
