"""The faces of entries' pages: made again with the package's own methods, or from the pictures stored with an entry.

A stranger's code is never run for a page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from arsbench import registry
from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import from_bytes
from arsbench.faces.lossless import picture_name, read_exact
from arsbench.leaderboard.entry import PICTURES
from arsbench.leaderboard.standings import Submitted
from arsbench.protocol import protocol
from arsbench.reports import sheets
from arsbench.reports.pages import Folder
from arsbench.reports.sheets import Sheets, Shown
from arsbench.running.prepare import Prepared, prepare
from arsbench.running.settings import Settings

_NOT_RUN = (
    "The pictures of this entry are not shown: its code is its authors', which is not run to make these pages, "
    "and no pictures are stored with it."
)


class Faces:
    """Makes the pictures for the entries of one board.

    Args:
        entries: of the board.
        count: of faces; 0 makes none.
        folder: of the pages.
    """

    def __init__(self, entries: Sequence[Submitted], count: int, folder: Folder) -> None:
        self._folder = folder
        self._count = min(count, entries[0].entry.images)
        self._methods = [name for s in entries if (name := s.built_in) and _is_own(name)]
        self._reason = "Pictures were not asked for." if count < 1 else ""
        self._prepared: Prepared | None = None
        wanted = [s for s in entries if _has_pictures(s) or s.built_in in self._methods]
        if self._count > 0 and wanted:
            self._prepare(entries[0], wanted)
        per_entry = 0
        if self._prepared is not None:
            per_entry = len(self._prepared.plan.manipulators) * len(sheets.perturbations_of(self._prepared))
        self.sheets = per_entry * len(wanted)

    def _prepare(self, first: Submitted, wanted: Sequence[Submitted]) -> None:
        entry = first.entry
        if entry.protocol_hash != protocol(entry.track).hash:
            self._reason = "The pictures are not shown: this entry was made under another version of the protocol."
            return
        kinds = list(dict.fromkeys(c.perturbation for s in wanted for c in s.entry.by_cell if c.level > 0))
        try:
            self._prepared = prepare(
                Settings(
                    protector=tuple(dict.fromkeys(self._methods)) or "none",
                    manipulator=tuple(dict.fromkeys(c.manipulator for s in wanted for c in s.entry.by_cell)),
                    perturbation=tuple(kinds) or "none",
                    level=sorted({c.level for s in wanted for c in s.entry.by_cell}),
                    images=self._count,
                    track=entry.track,
                    epsilon=entry.epsilon,
                    seed=entry.seed,
                    device="cpu",
                )
            )
        except ArsbenchError as error:
            self._reason = f"The pictures are not shown, because they could not be made again: {error}"

    def paint(self, submitted: Submitted, advance: Callable[[], None]) -> tuple[Sheets | None, str, str]:
        """The sheets of an entry's page; or why it has none, for the page, and what the builder should be told."""
        own = submitted.built_in in self._methods
        if self._reason or self._prepared is None:
            return None, self._reason or _NOT_RUN, ""
        if not own and not _has_pictures(submitted):
            return None, _NOT_RUN, ""
        where = f"faces/{submitted.entry.name}"
        keys = [image.key for image in self._prepared.plan.images]
        try:
            given = None if own else _stored(submitted, self._prepared)
            sheets.draw(
                self._prepared,
                range(len(keys)),
                submitted.built_in or submitted.entry.name,
                given,
                lambda name, content: self._folder.write(f"{where}/{name}", content),
                advance,
            )
        except ArsbenchError as error:
            sentence = f"The pictures of {submitted.entry.name} are not shown: {error}"
            return None, sentence, sentence
        made = Sheets(
            f"../{where}",
            tuple(Shown(key) for key in keys),
            tuple(self._prepared.plan.manipulators),
            sheets.perturbations_of(self._prepared),
            sheets.levels_of(self._prepared),
        )
        return made, "", ""


def _is_own(name: str) -> bool:
    """Whether a protector of that name is the package's."""
    try:
        return registry.find("protector", name).origin.split(" ")[0] == "arsbench"
    except ArsbenchError:
        return False


def _has_pictures(submitted: Submitted) -> bool:
    return submitted.entry.method.kind == "pictures" and (submitted.folder / PICTURES).is_dir()


def _stored(submitted: Submitted, prepared: Prepared) -> Mapping[str, Tensor]:
    """Manipulator -> the stored x_p ``[B, 3, H, W]`` of the shown faces.

    Raises:
        ArsbenchError: a picture is missing, is a link, or is no lossless picture of the right size.
    """
    folder = submitted.folder / PICTURES
    size = protocol(prepared.plan.track).size
    found = {}
    for model in prepared.plan.manipulators:
        own = folder / model if (folder / model).is_dir() else folder
        pixels = []
        for image in prepared.plan.images:
            path = own / picture_name(image.key)
            if path.is_symlink() or own.is_symlink() or folder.is_symlink():
                raise ArsbenchError(f"{path} is a link; the pictures of an entry are plain files")
            pixels.append(torch.from_numpy(read_exact(path, size).copy()))
        found[model] = from_bytes(torch.stack(pixels))
    return found
