"""Protects photos by several methods for docs/protect.md: ``python docs/protect_methods.py``.

Six faces of the test split, enlarged to 256 pixels, in PNG files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

import arsbench
from arsbench.faces.delivery import to_bytes
from arsbench.photos.protect import PhotoProtector, Wanted

METHODS = ("ensemble", "eot_pgd", "pgd", "ars_tuned")
FACES, SIDE, BORDER = range(50, 56), 256, 100
BACKGROUND = (128, 128, 128)
CHANGED = 3


def main() -> None:
    """A line for each method: the share of faces on which so many manipulators are changed, after each processing."""
    x, _ = arsbench.load_faces(n=FACES.stop)
    box = f"{BORDER},{BORDER},{BORDER + SIDE},{BORDER + SIDE}"
    with tempfile.TemporaryDirectory() as folder:
        photos = []
        for number in FACES:
            photo = Image.new("RGB", (SIDE + 2 * BORDER,) * 2, BACKGROUND)
            face = Image.fromarray(to_bytes(x).numpy()[number]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            photo.paste(face, (BORDER, BORDER))
            photos.append(Path(folder) / f"{number}.png")
            photo.save(photos[-1])
        for method in METHODS:
            protector = PhotoProtector(Wanted(protector=method, strength="high", faces=box))
            faces = [protector.protect_file(photo, Path(folder) / method).faces[0] for photo in photos]
            shares = {
                name: sum(face.count(name) >= CHANGED for face in faces) / len(faces)
                for name in dict.fromkeys(verdict.processing for verdict in faces[0].verdicts)
            }
            print(method, *(f"{name} {share:.2f}" for name, share in shares.items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
