"""The codes of the condition faces, kept beside the weights that made them: loading a manipulator need not encode.

They are computed in float64 and kept in float32, so that they are the same on every processor.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torch import Tensor

from arsbench.weights import load_weights

CODES = "codes"
"""The tensor of such a file."""
MADE_FROM = "made_from"
"""The entry of its card that says whose codes of what they are."""


def made_from(weights_sha256: str, faces: Tensor) -> str:
    """Stands for the weights and the condition faces ``[B, 3, H, W]``."""
    content = faces.detach().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(weights_sha256.encode() + hashlib.sha256(content).digest()).hexdigest()


def kept_codes(folder: Path, stem: str, weights_sha256: str | None, faces: Tensor) -> Tensor | None:
    """The codes in ``stem.safetensors``; ``None`` where they are of other weights or faces, or there are none.

    Raises:
        ArsbenchError: the file does not match its card.
    """
    try:
        card = json.loads((folder / f"{stem}.json").read_text())
    except (OSError, ValueError):
        return None
    if weights_sha256 is None or card[MADE_FROM] != made_from(weights_sha256, faces):
        return None
    return load_weights(folder, stem)[0][CODES]
