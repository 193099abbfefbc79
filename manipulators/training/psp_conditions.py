"""Keeps psp-mix's codes of the condition faces beside its weights, once new weights lie in their place.

Until then the faces are encoded whenever psp-mix is loaded.
"""

from __future__ import annotations

from pathlib import Path

import torch

from arsbench.contracts import ArsbenchError
from arsbench.manipulators.psp import CODES, CONDITIONS, MADE_FROM, WEIGHTS, PspMix, made_from
from arsbench.weights import save_weights

COMMAND = """\
python - <<END
import arsbench
from arsbench.manipulators.training.psp_conditions import write_codes
from arsbench.running.provenance import git_revision

write_codes(arsbench.load_manipulator("psp-mix"), git_revision())
END
"""


def write_codes(model: PspMix, revision: str | None, folder: Path = WEIGHTS) -> Path:
    """Encodes the model's condition faces and writes their codes, with a card; returns the file.

    Args:
        model: loaded with the condition faces that the shipped runs choose from.
        revision: of the code, for the card.
        folder: of the weights.

    Raises:
        ArsbenchError: the model has no condition faces.
    """
    if model.condition_faces is None or model.weights_sha256 is None:
        raise ArsbenchError("these codes are those of a psp-mix that chooses among condition faces")
    card: dict[str, object] = {
        "what": "w+ codes of the condition faces of psp-mix, of which each image's key chooses one",
        "data": f"the {len(model.condition_faces)} condition faces of the shipped generator",
        "recipe": "encoded in float64 by psp_open.safetensors, kept in float32",
        "command": COMMAND,
        "reached": {},
        "licence": "MIT",
        "revision": revision,
        MADE_FROM: made_from(model.weights_sha256, model.condition_faces),
    }
    return save_weights(folder, CONDITIONS, {CODES: model.encode_faces(model.condition_faces)}, card, torch.float32)
