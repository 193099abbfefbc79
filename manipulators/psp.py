"""pSp: encode a face into w+, decode it with StyleGAN2 - as it is (recon) or with another face's fine codes (mix).

Richardson et al. 2021. The official model and the open track's are this code with other sizes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.contracts import ArsbenchError, Manipulator
from arsbench.draws import draw, generator, seeded
from arsbench.manipulators.networks.psp_encoder import PspEncoder, Stage, fuse_batch_norms
from arsbench.manipulators.networks.stylegan2 import StyleGAN2, fold_scales
from arsbench.manipulators.official.checkpoints import load as load_checkpoint
from arsbench.weights import load_weights

WEIGHTS = Path(__file__).parent / "weights"
CONDITIONS = "psp_open_conditions"
"""The file of the condition faces' codes, float32: loading psp-mix need not encode them."""
CODES, MADE_FROM = "codes", "made_from"
"""Its tensor, and the entry of its card that says whose codes of what they are."""
Z_SIZE = 512


class Shape(NamedTuple):
    """The sizes of the open track's pSp that set what a pass costs.

    Attributes:
        channels: the decoder's, by resolution.
        stages: the encoder's.
        hidden: channels inside the encoder's style heads.
    """

    channels: Mapping[int, int]
    stages: tuple[Stage, ...]
    hidden: int


OPEN_SHAPE = Shape(
    channels={4: 128, 8: 128, 16: 64, 32: 24, 64: 16},
    stages=(Stage(16, 24, 1, 8), Stage(24, 48, 2, 16), Stage(48, 96, 3, 32), Stage(96, 128, 2, 48)),
    hidden=48,
)
MIX_ALPHA = 0.8
OPEN_MIX_FROM = 4
"""Rows 4-9 of 10: from the second 16-pixel convolution up."""
OFFICIAL_STYLE = 512
OFFICIAL_MIX_FROM = 8
"""Rows 8-17 of 18."""


class PspModel(nn.Module):
    """Encoder, decoder and average code.

    Args:
        encoder: images to codes without the average.
        decoder: codes to images.
    """

    def __init__(self, encoder: PspEncoder, decoder: StyleGAN2, style: int) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.latent_avg = nn.Parameter(torch.zeros(decoder.n_codes, style))

    def encode(self, x: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [-1, 1] -> w+ codes ``[B, n_codes, style]``."""
        codes: Tensor = self.encoder(x.contiguous(memory_format=torch.channels_last))
        return codes + self.latent_avg

    def decode(self, codes: Tensor, size: int) -> Tensor:
        """w+ codes -> raw images ``[B, 3, size, size]``, pooled when the decoder's own size is another."""
        y: Tensor = self.decoder(codes)
        return y if y.shape[-1] == size else F.adaptive_avg_pool2d(y, size)


def open_model(shape: Shape = OPEN_SHAPE) -> PspModel:
    """The 64-pixel model of the open track, with random weights."""
    encoder = PspEncoder(64, 10, style=128, stem=16, stages=shape.stages, reduction=8, hidden=shape.hidden)
    return PspModel(encoder, StyleGAN2(64, style=128, channels=shape.channels, z_size=Z_SIZE), style=128)


def official_model(size: int = 1024) -> PspModel:
    """The official model, which takes 256 pixels and draws ``size``, with random weights."""
    decoder = StyleGAN2(size)
    return PspModel(PspEncoder(256, n_codes=decoder.n_codes), decoder, style=OFFICIAL_STYLE)


def mix(codes: Tensor, injected: Tensor, first_row: int, alpha: float = MIX_ALPHA) -> Tensor:
    """``codes`` with the rows from ``first_row`` on replaced by alpha injected + (1 - alpha) own (``mix_alpha``)."""
    fine = alpha * injected[:, first_row:] + (1 - alpha) * codes[:, first_row:]
    return torch.cat([codes[:, :first_row], fine.expand(len(codes), -1, -1)], dim=1)


def made_from(weights_sha256: str, faces: Tensor) -> str:
    """Stands for the weights and the condition faces ``[B, 3, H, W]``."""
    content = faces.detach().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(weights_sha256.encode() + hashlib.sha256(content).digest()).hexdigest()


def kept_codes(folder: Path, weights_sha256: str | None, faces: Tensor) -> Tensor | None:
    """The kept codes of ``faces``; ``None`` where they are of other weights or faces, or there are none.

    Raises:
        ArsbenchError: the file does not match its card.
    """
    try:
        card = json.loads((folder / f"{CONDITIONS}.json").read_text())
    except (OSError, ValueError):
        return None
    if weights_sha256 is None or card.get(MADE_FROM) != made_from(weights_sha256, faces):
        return None
    return load_weights(folder, CONDITIONS)[0][CODES]


class Psp(Manipulator):
    """What recon and mix share on both tracks: the model, frozen, in eval mode."""

    track: ClassVar[str] = "open"
    weights_files: ClassVar[tuple[str | Path, ...]] = ("arsbench.manipulators:weights/psp_open.safetensors",)
    training: ClassVar[str | None] = "arsbench.manipulators.training.psp:train"
    mix_from: ClassVar[int] = OPEN_MIX_FROM

    def set_up(self) -> None:
        """Loads the model, frozen; see the base class."""
        self.model = self.build()
        self.model.eval().requires_grad_(False)
        fuse_batch_norms(self.model.encoder)
        fold_scales(self.model.decoder)
        self.model.to(self.device)
        self.model.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def build(self) -> PspModel:
        """The model with its weights; sets ``weights_sha256``."""
        tensors, self.weights_sha256 = load_weights(WEIGHTS, "psp_open")
        with torch.device("meta"):
            model = open_model()
        model.load_state_dict(tensors, assign=True)
        return model


class PspRecon(Psp):
    """G(x): the face encoded and decoded. Takes no condition."""

    name = "psp-recon"
    thread_safe: ClassVar[bool] = True
    float64: ClassVar[bool] = True

    def set_up(self) -> None:
        """Loads the model; there is no condition to give."""
        if self.condition is not None:
            raise ArsbenchError("manipulator 'psp-recon' takes no condition; leave it out")
        super().set_up()

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> the reconstruction, raw."""
        return self.model.decode(self.model.encode(x), x.shape[-1])


class PspMix(Psp):
    """G(x, c): x's coarse codes with the fine ones of a reference face, alpha 0.8, or of a z, alpha 1.

    Args:
        condition: a face ``[1, 3, H, W]``, ``"random"`` (an own z per image) or a z ``[1, 512]``; by default each
            image's key chooses one of the shipped condition faces.
    """

    name = "psp-mix"
    thread_safe: ClassVar[bool] = True
    float64: ClassVar[bool] = True

    def set_up(self) -> None:
        """Loads the model and encodes the condition."""
        super().set_up()
        self._codes: Tensor | None = None
        condition = self.condition
        # The official script mixes in a face's codes, and replaces the rows whole by a z's.
        is_face = condition is None or (isinstance(condition, Tensor) and condition.ndim == 4)
        self._alpha = MIX_ALPHA if is_face else 1.0
        with torch.no_grad():
            if condition is None:
                if self.condition_faces is None:
                    raise ArsbenchError(
                        "manipulator 'psp-mix' needs condition faces; load it with arsbench.load_manipulator"
                    )
                kept = kept_codes(WEIGHTS, self.weights_sha256, self.condition_faces)
                self._codes = self.encode_faces(self.condition_faces) if kept is None else kept.to(self.device)
            elif isinstance(condition, Tensor):
                self._codes = self._encode_condition(condition)
            elif condition != "random":
                raise ArsbenchError(f"manipulator 'psp-mix' got a condition it cannot use: {_WANTED}")

    @torch.no_grad()
    def encode_faces(self, faces: Tensor) -> Tensor:
        """The codes ``[B, n_codes, style]`` of condition faces [B, 3, H, W], the same on every processor."""
        # In float64; no bit of a weight is lost on the way back.
        codes = self.model.double().encode(faces.to(self.model.latent_avg))
        self.model.float()
        return codes.to(self.model.latent_avg)

    def _encode_condition(self, condition: Tensor) -> Tensor:
        if condition.ndim == 4 and condition.shape[:2] == (1, 3):
            return self.encode_faces(condition)
        if condition.shape == (1, Z_SIZE):
            return self._map(condition.to(self.model.latent_avg))
        raise ArsbenchError(
            f"manipulator 'psp-mix' got a condition of shape {list(condition.shape)} that it cannot use: {_WANTED}"
        )

    def _map(self, z: Tensor) -> Tensor:
        w: Tensor = self.model.decoder.style(z)
        return w[:, None].expand(-1, self.model.decoder.n_codes, -1)

    def _choice(self, key: str) -> int:
        return draw(key, "condition") % len(self.condition_keys)

    def _injected(self, keys: Sequence[str]) -> Tensor:
        if self._codes is None:
            z = torch.stack([torch.randn(Z_SIZE, generator=generator(key, "condition-z")) for key in keys])
            return self._map(z.to(self.model.latent_avg))
        return self._codes if self.condition is not None else self._codes[[self._choice(key) for key in keys]]

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x's shape with the condition's colours and fine look, raw."""
        codes = mix(self.model.encode(x), self._injected(keys), self.mix_from, self._alpha)
        return self.model.decode(codes, x.shape[-1])

    def conditions(self, keys: Sequence[str]) -> list[str]:
        """The key of each image's condition face, or what the given condition is."""
        if self.condition is None:
            return [self.condition_keys[self._choice(key)] for key in keys]
        if isinstance(self.condition, Tensor):
            return ["given face" if self.condition.ndim == 4 else "given z"] * len(keys)
        return ["random"] * len(keys)


class OfficialPsp(Psp):
    """The official model of the paper track: the checkpoint that the user added as ``psp``."""

    track: ClassVar[str] = "paper"
    weights_files: ClassVar[tuple[str | Path, ...]] = ()
    checkpoints: ClassVar[tuple[str, ...]] = ("psp",)
    mix_from: ClassVar[int] = OFFICIAL_MIX_FROM

    def build(self) -> PspModel:
        """The official model with the user's weights, or with random ones."""
        if self.random_weights:
            with seeded(0):
                return official_model()
        tensors, card = load_checkpoint("psp")
        self.weights_sha256 = card["sha256"]
        with torch.device("meta"):
            model = official_model(card["output_size"])
        model.load_state_dict(tensors, assign=True)
        return model


class OfficialPspRecon(OfficialPsp, PspRecon):
    """G(x): the face encoded and decoded by the official model, pooled to 256 pixels. Takes no condition."""


class OfficialPspMix(OfficialPsp, PspMix):
    """G(x, c) by the official model: rows 8-17 injected; the noise is that of the checkpoint."""


_WANTED = 'give a face [1, 3, H, W] in [-1, 1], "random", or a z [1, 512]'
