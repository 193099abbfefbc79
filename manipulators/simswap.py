"""SimSwap: another person's identity put into a face, by adaptive instance normalisation (Chen et al. 2020).

x is the attribute (target) image, which keeps pose, expression and layout; the condition c is the source, whose
identity the output takes. The official generator and the open track's are this code with other sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from arsbench.contracts import ArsbenchError, Manipulator
from arsbench.draws import draw, seeded
from arsbench.face_networks.loading import load_face_recogniser, recogniser_sha256
from arsbench.float64 import network_in_float64
from arsbench.manipulators.networks.arcface import ArcFace
from arsbench.manipulators.networks.simswap import SimSwapGenerator
from arsbench.manipulators.official.checkpoints import load as load_checkpoint
from arsbench.weights import combined_sha256, load_weights

WEIGHTS = Path(__file__).parent / "weights"
OPEN_CHANNELS = (16, 48, 96, 112)
OPEN_BLOCKS = 4
IDENTITY_SIZE = 128
"""Numbers of the open track's recogniser; ArcFace's are 512."""
SOURCE_SIZE, ARCFACE_SIZE = 224, 112
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def open_generator(channels: Sequence[int] = OPEN_CHANNELS) -> SimSwapGenerator:
    """The 64-pixel generator of the open track, with random weights; ``channels`` as it takes them."""
    return SimSwapGenerator(channels, latent=IDENTITY_SIZE, blocks=OPEN_BLOCKS)


def latent_identity(recogniser: torch.nn.Module, faces: Tensor) -> Tensor:
    """The identity ``[B, 128]`` of ``faces`` [B, 3, H, W] as the generator takes it: of length sqrt(128)."""
    descriptors: Tensor = recogniser(faces)
    identity: Tensor = F.normalize(descriptors, dim=1) * IDENTITY_SIZE**0.5
    return identity


class SimSwap(Manipulator):
    """G(x, c): x with the identity of the source face c.

    Args:
        condition: a source face ``[1, 3, H, W]`` in [-1, 1]; by default each image's key chooses one of the shipped
            condition faces.
    """

    name = "simswap"
    thread_safe: ClassVar[bool] = True
    float64: ClassVar[bool] = True
    track: ClassVar[str] = "open"
    training: ClassVar[str | None] = "arsbench.manipulators.training.simswap:train"
    weights_files: ClassVar[tuple[str | Path, ...]] = (
        "arsbench.manipulators:weights/simswap_open.safetensors",
        "arsbench.face_networks:weights/face_recogniser.safetensors",
    )

    def set_up(self) -> None:
        """Loads the generator and takes the identities of the condition's faces."""
        condition = self.condition
        sources = self.condition_faces if condition is None else condition
        if not isinstance(sources, Tensor) or sources.ndim != 4 or sources.shape[1] != 3:
            raise ArsbenchError(
                "manipulator 'simswap' got a condition it cannot use: give a face [1, 3, H, W] in [-1, 1]"
            )
        if condition is not None and len(sources) != 1:
            raise ArsbenchError(f"manipulator 'simswap' takes one source face as its condition, not {len(sources)}")
        self.generator = self.build()
        self.generator.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.sources = sources.to(self.device, torch.float32)
        with torch.no_grad():
            self._identities = self.identify(self.sources)

    def build(self) -> SimSwapGenerator:
        """The generator with its weights; sets ``weights_sha256``."""
        network = open_generator()
        tensors, own = load_weights(WEIGHTS, "simswap_open")
        self.weights_sha256 = combined_sha256(own, recogniser_sha256())
        network.load_state_dict(tensors)
        return network

    def identify(self, faces: Tensor) -> Tensor:
        """The identities of ``faces`` [B, 3, H, W] in [-1, 1], as the generator takes them."""
        # In float64, so that they are the same on every processor.
        recogniser = network_in_float64(load_face_recogniser(self.device))
        return latent_identity(recogniser, faces.double()).to(faces)

    def _choices(self, keys: Sequence[str]) -> list[int]:
        return [0 if self.condition is not None else draw(key, "condition") % len(self.sources) for key in keys]

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x with the source's identity, [B, 3, H, W]; sides are multiples of 8."""
        swapped: Tensor = self.generator((x + 1) / 2, self._identities[self._choices(keys)])
        return swapped * 2 - 1

    def aim(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """The source face of each image: whom the forger wants to see."""
        return self.sources[self._choices(keys)].to(x)

    def conditions(self, keys: Sequence[str]) -> list[str]:
        """The key of each image's source face."""
        if self.condition is not None:
            return ["given face"] * len(keys)
        return [self.condition_keys[choice] for choice in self._choices(keys)]


class OfficialSimSwap(SimSwap):
    """G(x, c) by the official generator and ArcFace: the checkpoints that the user added."""

    track: ClassVar[str] = "paper"
    weights_files: ClassVar[tuple[str | Path, ...]] = ()
    checkpoints: ClassVar[tuple[str, ...]] = ("simswap", "arcface")

    def build(self) -> SimSwapGenerator:
        """The official generator with the user's weights, or with random ones."""
        if self.random_weights:
            with seeded(0):
                return SimSwapGenerator()
        tensors, card = load_checkpoint("simswap")
        self.weights_sha256 = combined_sha256(card["sha256"], load_checkpoint("arcface")[1]["sha256"])
        with torch.device("meta"):
            network = SimSwapGenerator()
        network.load_state_dict(tensors, assign=True)
        return network

    def identify(self, faces: Tensor) -> Tensor:
        """ArcFace's identities, of length 1, of faces prepared as the official code prepares a source."""
        if self.random_weights:
            with seeded(0):
                encoder = ArcFace()
        else:
            with torch.device("meta"):
                encoder = ArcFace()
            encoder.load_state_dict(load_checkpoint("arcface")[0], assign=True)
        encoder.eval().requires_grad_(False).to(self.device)
        return F.normalize(encoder(prepare_source(faces)), dim=1)


def prepare_source(faces: Tensor) -> Tensor:
    """``[B, 3, H, W]`` in [-1, 1] -> ``[B, 3, 112, 112]``: resized to 224, ImageNet's statistics, nearest to 112."""
    resized = F.interpolate(faces, size=(SOURCE_SIZE,) * 2, mode="bilinear", antialias=True, align_corners=False)
    mean, std = (torch.tensor(v, device=faces.device)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return F.interpolate(((resized + 1) / 2 - mean) / std, size=(ARCFACE_SIZE,) * 2)
