"""Protects grey photos for docs/protect.md, counts the changed manipulators: ``python docs/grey_photos.py``.

Eight faces of the test split, enlarged to 256 pixels, in 8-bit grey PNG files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

import arsbench
from arsbench.faces.delivery import to_bytes
from arsbench.photos.protect import PhotoProtector, Wanted

FACES, SIDE, BORDER = range(50, 58), 256, 100
BACKGROUND = 128


def main() -> None:
    """A line for each photo: how many manipulators are changed after each processing."""
    x, _ = arsbench.load_faces(n=FACES.stop)
    protector = PhotoProtector(Wanted(strength="high", faces=f"{BORDER},{BORDER},{BORDER + SIDE},{BORDER + SIDE}"))
    with tempfile.TemporaryDirectory() as folder:
        for number in FACES:
            photo = Image.new("L", (SIDE + 2 * BORDER,) * 2, BACKGROUND)
            face = Image.fromarray(to_bytes(x).numpy()[number]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            photo.paste(face.convert("L"), (BORDER, BORDER))
            source = Path(folder) / f"grey{number}.png"
            photo.save(source)
            (verified,) = protector.protect_file(source, Path(folder) / "out").faces
            counts = {verdict.processing: 0 for verdict in verified.verdicts}
            for verdict in verified.verdicts:
                counts[verdict.processing] += verdict.holds
            print(number, *(f"{name} {count}" for name, count in counts.items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
