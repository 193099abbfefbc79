"""Protects a photo for docs/protect.md and draws what a forger gets: ``python docs/protect_picture.py``.

The photo is scikit-image's ``astronaut`` (a picture by NASA, in the public domain), a real face.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import skimage.data
from PIL import Image, ImageDraw

from arsbench.photos.picture import read_photo
from arsbench.photos.protect import PhotoProtector, Wanted

TARGET = Path(__file__).parent / "images" / "protect.png"
SIDE, GAP, LINE = 192, 8, 16


def main() -> None:
    """First row the crop as it was and as it is, then what each manipulator makes of either."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "astronaut.png"
        Image.fromarray(skimage.data.astronaut()).save(source)
        outcome = PhotoProtector(Wanted(strength="high", faces="largest")).protect_file(source, Path(folder) / "out")
        face = outcome.faces[0]
        crops = [read_photo(path).upright().crop(face.box) for path in (source, outcome.path)]
    columns = [("photo", *(crop.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for crop in crops))]
    for name, forged in face.forged.items():
        held = next(v.holds for v in face.verdicts if v.manipulator == name and v.processing == "as written")
        before, after = (Image.fromarray(p).resize((SIDE, SIDE), Image.Resampling.NEAREST) for p in forged)
        columns.append((f"{name}: {'changed' if held else 'not changed'}", before, after))
    page = Image.new("RGB", (len(columns) * (SIDE + GAP) - GAP, LINE + 2 * SIDE + GAP), "white")
    write = ImageDraw.Draw(page)
    for i, (title, before, after) in enumerate(columns):
        left = i * (SIDE + GAP)
        write.text((left, 1), title, "black")
        page.paste(before, (left, LINE))
        page.paste(after, (left, LINE + SIDE + GAP))
    page.save(TARGET, optimize=True)
    for verdict in face.verdicts:
        print(f"{verdict.manipulator:10} {verdict.processing:20} {'changed' if verdict.holds else 'not'}")


if __name__ == "__main__":
    main()
