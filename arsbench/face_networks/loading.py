"""The shipped face networks: who somebody is, which expression, what age, where. Frozen, differentiable in the picture.

Their weights are stored as the original's are, uint8 with a scale and a minimum per tensor: exact, and half of fp16.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from arsbench.face_networks.age import FaceAge
from arsbench.face_networks.detector import FaceDetector
from arsbench.face_networks.expression import FaceExpression
from arsbench.face_networks.recogniser import FaceRecogniser
from arsbench.weights import load_weights

WEIGHTS = Path(__file__).parent / "weights"

SCALE_AND_MIN = ":scale_and_min"
"""Behind a uint8 tensor's name: the float32 pair that makes its values."""

Network = TypeVar("Network", bound=nn.Module)


@functools.lru_cache(maxsize=4)
def load_face_recogniser(device: str | torch.device = "cpu") -> FaceRecogniser:
    """dlib's recogniser.

    Raises:
        ArsbenchError: its weights are missing or damaged; so for the others.
    """
    return _load(FaceRecogniser(), "face_recogniser", device)


def recogniser_sha256() -> str:
    """The SHA-256 of the recogniser's weights.

    Raises:
        ArsbenchError: they are missing or damaged.
    """
    return load_weights(WEIGHTS, "face_recogniser")[1]


@functools.lru_cache(maxsize=4)
def load_face_expression(device: str | torch.device = "cpu") -> FaceExpression:
    """The network of seven expressions."""
    return _load(FaceExpression(), "face_expression", device)


@functools.lru_cache(maxsize=4)
def load_face_age(device: str | torch.device = "cpu") -> FaceAge:
    """The network of age and gender."""
    return _load(FaceAge(), "face_age", device)


@functools.lru_cache(maxsize=4)
def load_face_detector(device: str | torch.device = "cpu") -> FaceDetector:
    """The tiny face detector."""
    return _load(FaceDetector(), "face_detector", device)


def _load(network: Network, stem: str, device: str | torch.device) -> Network:
    network.load_state_dict(dequantised(load_weights(WEIGHTS, stem)[0]))
    # Channels last, in which convolutions are faster on a CPU.
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def dequantised(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The float32 tensors of a weights file: scale * uint8 + min where a pair is stored, the others as they are."""
    tensors = {}
    for name, value in stored.items():
        if not name.endswith(SCALE_AND_MIN):
            pair = stored.get(name + SCALE_AND_MIN)
            tensors[name] = value if pair is None else value.float() * pair[0] + pair[1]
    return tensors
