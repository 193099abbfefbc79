"""Draws the pictures of the manipulators that docs/manipulators.md shows: ``python docs/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import arsbench
from arsbench.faces.delivery import to_bytes
from arsbench.manipulators.styleclip import EDITS

IMAGES = Path(__file__).parent / "images"
FACES = 10
ENLARGED = 2


def save(name: str, rows: list[Tensor]) -> None:
    """Writes rows of faces ``[n, 3, 64, 64]`` as one picture."""
    whole = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    picture = Image.fromarray(to_bytes(whole).numpy())
    picture.resize((picture.width * ENLARGED, picture.height * ENLARGED), Image.Resampling.NEAREST).save(IMAGES / name)


@torch.no_grad()
def main() -> None:
    """The swaps: target, source, swap. The edits: face, then one row per edit."""
    x, keys = arsbench.load_faces(n=FACES)
    swap = arsbench.load_manipulator("simswap")
    save("simswap.png", [x, swap.aim(x, keys), swap.manipulate(x, keys)])
    edited = [arsbench.load_manipulator("styleclip", condition=edit).manipulate(x, keys) for edit in EDITS]
    save("styleclip.png", [x, *edited])


if __name__ == "__main__":
    main()
