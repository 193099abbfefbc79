"""Weights files and their cards: read, written and checked.

A weights file is ``stem.safetensors``, in fp16 unless its card says otherwise; its card ``stem.json`` beside it says
data, recipe, command, what the weights reached, the licence, and the file's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from arsbench.contracts import ArsbenchError


def load_weights(folder: Path, stem: str) -> tuple[dict[str, Tensor], str]:
    """Reads ``stem.safetensors`` (fp16) as float32, after checking it against the SHA-256 on its card ``stem.json``.

    Returns:
        The tensors by name, and the file's SHA-256.

    Raises:
        ArsbenchError: a file is missing or does not match its card.
    """
    path, card_path = folder / f"{stem}.safetensors", folder / f"{stem}.json"
    for needed in (path, card_path):
        if not needed.is_file():
            raise ArsbenchError(f"the weights file {needed} is missing; install arsbench again")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        expected = json.loads(card_path.read_text())["sha256"]
        if digest != expected:
            raise ArsbenchError(
                f"the weights file {path} is damaged: its SHA-256 differs from its card; install arsbench again"
            )
        tensors = load(content)
    except (SafetensorError, json.JSONDecodeError, KeyError) as error:
        raise ArsbenchError(f"the weights file {path} or its card cannot be read; install arsbench again") from error
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}, digest


def combined_sha256(*digests: str) -> str:
    """One hash for a model that is made of several files."""
    return hashlib.sha256("\0".join(digests).encode()).hexdigest()


def save_weights(
    folder: Path, stem: str, tensors: Mapping[str, Tensor], card: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> Path:
    """Writes ``stem.safetensors`` and its card ``stem.json`` with the file's SHA-256; returns the former.

    Args:
        folder: made if missing.
        stem: of both file names.
        tensors: by name.
        card: what the weights are: data, recipe, command, what they reached, licence.
        dtype: of what is a floating-point number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.safetensors"
    save_file({k: (v.to(dtype) if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / f"{stem}.json").write_text(json.dumps({**card, "sha256": digest}, indent=2) + "\n")
    return path
