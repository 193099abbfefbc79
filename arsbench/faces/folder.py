"""A folder of the user's own pictures."""

from __future__ import annotations

from pathlib import Path

from arsbench.contracts import ArsbenchError
from arsbench.faces.pictures import read_picture
from arsbench.faces.sources import FaceSource, Pixels, pixel_digest

IGNORED_NAMES = {"thumbs.db", "desktop.ini"}
"""Files that desktops leave among pictures; hidden files are ignored, too."""


class FolderFaces(FaceSource):
    """The pictures of a folder and its subfolders, in the order of their paths.

    Any size and mode; see :func:`to_rgb` and :func:`read_picture` for what becomes of them. Each file is opened once
    before anything else is done with the folder; pixels are read again batch by batch and never kept.

    Args:
        folder: where the pictures are. Hidden files and folders are left out.
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
        self.skipped: list[str] = []
        self._digests: list[str] = []
        if not self.folder.is_dir():
            raise ArsbenchError(f"there is no folder {self.folder}; --faces takes a folder of pictures")
        if n is not None and n < 1:
            raise ArsbenchError(f"asked for {n} pictures of {self.folder}; ask for at least one")
        for key in picture_keys(self.folder):
            if len(self.keys) == n:
                break
            try:
                digest = pixel_digest(read_picture(self.folder / key, size))
            except ArsbenchError:
                self.skipped.append(key)
                continue
            self.keys.append(key)
            self._digests.append(digest)
        if self.skipped and not skip_bad:
            raise ArsbenchError(
                f"{len(self.skipped)} file(s) in {self.folder} cannot be read as pictures: {', '.join(self.skipped)}; "
                "remove them or skip them with --skip-bad"
            )
        if not self.keys:
            raise ArsbenchError(f"there are no readable pictures in {self.folder}; --faces takes a folder of pictures")

    def pixels(self, index: int) -> Pixels:
        """The picture as read now, ``[size, size, 3]``."""
        return read_picture(self.folder / self.keys[index], self.size)

    def digest(self, index: int) -> str:
        """The digest of the picture as it was when the folder was opened."""
        return self._digests[index]


def picture_keys(folder: Path) -> list[str]:
    """Every file that may be a picture, relative to the folder, sorted."""
    found = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if (
            path.is_file()
            and not any(part.startswith(".") for part in relative.parts)
            and path.name.lower() not in IGNORED_NAMES
        ):
            found.append(relative.as_posix())
    return sorted(found)
