"""Generates the faces that are shipped as pixels, and writes them with their card.

Run from anywhere::

    python -m arsbench.shipped.make_faces
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import click
import numpy as np

from arsbench.faces.shipped import CONDITION_SEEDS, SHIPPED_SEEDS, encode_pixels, generate_pixels


@click.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(__file__).parent, help="Folder to write to."
)
def main(out: Path) -> None:
    """Writes faces_open.npz (1000 test faces, 16 condition faces) and faces_open.json."""
    target = out / "faces_open.npz"
    parts = {"test": SHIPPED_SEEDS, "condition": CONDITION_SEEDS}
    arrays = {name: encode_pixels(np.stack([generate_pixels(seed) for seed in seeds])) for name, seeds in parts.items()}
    np.savez_compressed(target, allow_pickle=False, **arrays)
    card = {
        "what": "faces of the open track, 64 x 64, 8 bit, as residuals of arsbench.faces.encode_pixels",
        "test": f"seeds {SHIPPED_SEEDS.start}-{SHIPPED_SEEDS.stop - 1}",
        "condition": f"seeds {CONDITION_SEEDS.start}-{CONDITION_SEEDS.stop - 1}",
        "source": "arsbench.face_generator, one face at a time",
        "licence": "MIT, Copyright (c) 2023 chien liu; see THIRD_PARTY.md",
        "command": "python -m arsbench.shipped.make_faces",
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
    }
    (out / "faces_open.json").write_text(json.dumps(card, indent=2) + "\n")
    click.echo(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
