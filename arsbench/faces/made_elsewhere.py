"""A protector without code: pictures that were protected elsewhere, matched to the faces by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.contracts import ArsbenchError, Manipulator, Protector
from arsbench.faces.delivery import from_bytes
from arsbench.faces.lossless import folder_sha256, picture_name, read_exact


class MadeElsewhere(Protector):
    """Pictures protected elsewhere: give folder:DIR."""

    name = "folder"
    thread_safe: ClassVar[bool] = True
    folder: ClassVar[Path | None] = None

    def __init__(self, manipulator: Manipulator, epsilon: float = 0.3, seed: int = 0) -> None:
        super().__init__(manipulator, epsilon, seed)
        if self.folder is None:
            raise ArsbenchError("protector 'folder' needs its pictures; give folder:DIR")
        own = self.folder / manipulator.name
        self.pictures = own if own.is_dir() else self.folder

    @classmethod
    def of(cls, argument: str) -> tuple[type[MadeElsewhere], str]:
        """The protector of one folder, called as the folder is, and the hash over its pictures.

        The pictures are 8-bit RGB PNG of the track's size, named as ``arsbench faces export`` names the faces. Where
        there is a subfolder of a manipulator's name, its pictures are those against that manipulator.

        Raises:
            ArsbenchError: no such folder, or no PNG in it.
        """
        folder = Path(argument)
        if not folder.is_dir():
            raise ArsbenchError(f"there is no folder {folder}; folder:DIR takes a folder of protected pictures")
        if next(folder.rglob("*.png"), None) is None:
            raise ArsbenchError(f"there is no PNG in {folder}; arsbench faces export writes the faces and their names")
        name = re.sub(r"[^A-Za-z0-9_.+-]", "-", folder.resolve().name).lstrip(".+-") or "pictures"
        return type("MadeElsewhere", (cls,), {"name": name, "folder": folder, "thread_safe": True}), folder_sha256(
            folder
        )

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """The pictures of ``keys`` ``[B, 3, H, W]``, delivered.

        Raises:
            ArsbenchError: a picture is missing or is not of x's size.
        """
        pixels = [torch.from_numpy(read_exact(self.pictures / picture_name(key), x.shape[-1]).copy()) for key in keys]
        return from_bytes(torch.stack(pixels)).to(x.device)
