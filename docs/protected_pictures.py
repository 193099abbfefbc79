"""A protector's pictures of the test faces, for an entry of pictures: ``python docs/protected_pictures.py ars DIR``.

One folder of PNG for each manipulator, protected one picture at a time, as a run does on a CPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import arsbench
from arsbench.faces.delivery import deliver, to_bytes
from arsbench.faces.lossless import picture_name, write_exact
from arsbench.named_sets import MANIPULATORS


def main() -> None:
    """Writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protector")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)  # as each of a run's threads computes
    x, keys = arsbench.load_faces(n=given.images)
    for name in MANIPULATORS:
        method = arsbench.load_protector(given.protector, arsbench.load_manipulator(name))
        folder = given.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for i, key in enumerate(keys):
            pixels = to_bytes(deliver(method.protect(x[i : i + 1], [key])))[0]
            write_exact(folder / picture_name(key), pixels.numpy())


if __name__ == "__main__":
    main()
