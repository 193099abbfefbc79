"""How well the recogniser tells a perturbed face from another, for docs/protocol.md: ``python docs/recognition.py``."""

from __future__ import annotations

import torch
from torch import Tensor

import arsbench
from arsbench.face_networks.loading import load_face_recogniser
from arsbench.protocol import DEFAULT_SET, PERTURBATION_SETS

FACES = 100
LEVELS = (3, 5)


def separation(perturbed: Tensor, faces: Tensor) -> tuple[float, float]:
    """The mean distance of a face's two descriptors ``[B, D]``, and the AUC against the distances to other faces."""
    distances = torch.cdist(perturbed, faces)
    same, others = distances.diag(), distances[~torch.eye(len(faces), dtype=torch.bool)]
    return float(same.mean()), float((same[:, None] < others).float().mean())


@torch.no_grad()
def main() -> None:
    """Prints a Markdown table: a line per perturbation."""
    x, keys = arsbench.load_faces(n=FACES)
    recogniser = load_face_recogniser()
    faces = recogniser(x)
    columns = [f"{what}, level {level}" for level in LEVELS for what in ("distance", "AUC")]
    print(f"| perturbation | {' | '.join(columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for name in PERTURBATION_SETS[DEFAULT_SET]:
        found = [separation(recogniser(arsbench.perturb(x, name, level, keys)), faces) for level in LEVELS]
        print(f"| {name} | {' | '.join(f'{distance:.3f} | {auc:.4f}' for distance, auc in found)} |")


if __name__ == "__main__":
    main()
