"""Keeps psp-mix's codes of the condition faces beside its weights.

``python -m arsbench.manipulators.training.psp_conditions``, once new weights lie in their place; until then the faces
are encoded whenever psp-mix is loaded.
"""

from __future__ import annotations

from pathlib import Path

import torch

from arsbench.faces.tracks import conditions_of
from arsbench.manipulators.psp import CODES, CONDITIONS, MADE_FROM, WEIGHTS, PspMix, made_from
from arsbench.weights import save_weights

COMMAND = "python -m arsbench.manipulators.training.psp_conditions"


def write_codes(folder: Path = WEIGHTS) -> Path:
    """Encodes the open track's condition faces and writes their codes; returns the file."""
    faces, keys = conditions_of("open")
    model = PspMix(condition_faces=faces, condition_keys=keys)
    assert model.weights_sha256 is not None
    card = {
        "what": "w+ codes of the 16 condition faces of psp-mix, of which each image's key chooses one",
        "data": "the 16 condition faces of the shipped generator",
        "recipe": "encoded in float64 by psp_open.safetensors, kept in float32",
        "command": COMMAND,
        "reached": {},
        "licence": "MIT",
        MADE_FROM: made_from(model.weights_sha256, faces),
    }
    return save_weights(folder, CONDITIONS, {CODES: model.encode_faces(faces)}, card, torch.float32)


if __name__ == "__main__":
    print(write_codes())
