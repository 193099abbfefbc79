"""StyleCLIP's latent mapper: a face encoded the e4e way, edited by w + 0.1 mapper(w), decoded (Patashnik et al. 2021).

The condition c is the edit. The official mappers were trained against CLIP and a free text. CLIP is on no package
registry, so on the open track the text is one of a closed vocabulary, and its mapper was trained against networks that
recognise expressions and age; see :mod:`arsbench.manipulators.training.styleclip`. Of its encoder, the style heads are
its own; the body in front of them, and the decoder, are pSp's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arsbench.contracts import ArsbenchError, Manipulator
from arsbench.draws import draw, seeded
from arsbench.manipulators.networks.combined import STYLECLIP_STRENGTH
from arsbench.manipulators.networks.psp_encoder import E4eEncoder, fuse_batch_norms
from arsbench.manipulators.networks.styleclip_mapper import LevelsMapper
from arsbench.manipulators.networks.stylegan2 import StyleGAN2, fold_scales
from arsbench.manipulators.official.checkpoints import LEVELS
from arsbench.manipulators.official.checkpoints import load as load_checkpoint
from arsbench.manipulators.official.kept import kept
from arsbench.manipulators.psp import OPEN_SHAPE, PspModel, open_model
from arsbench.weights import combined_sha256, load_weights

WEIGHTS = Path(__file__).parent / "weights"
EDITS = ("smiling", "surprised", "angry", "older")
"""The open track's texts."""
OPEN_STYLE = 128
OPEN_ROWS = (3, 6)
"""Rows 0-2 are coarse, 3-5 medium, 6-9 fine; the official ones of 18 are 0-3, 4-7, 8-17."""
OPEN_HIDDEN = 48


class StyleClipModel(nn.Module):
    """What is the open track's own: style heads and one mapper per edit; what is pSp's is given to :meth:`encoder`."""

    def __init__(self) -> None:
        super().__init__()
        self.styles = open_encoder(OPEN_HIDDEN).styles
        self.mappers = nn.ModuleDict({edit: LevelsMapper(OPEN_STYLE, rows=OPEN_ROWS) for edit in EDITS})

    def encoder(self, psp: PspModel) -> E4eEncoder:
        """The e4e encoder: pSp's body with the heads of this model; shares both, copies neither."""
        encoder = open_encoder(OPEN_HIDDEN)
        for part in ("input_layer", "body", "latlayer1", "latlayer2"):
            setattr(encoder, part, getattr(psp.encoder, part))
        encoder.styles = self.styles
        return encoder


class StyleClipParts(nn.Module):
    """What an edit takes, at any size.

    Args:
        encoder: images to codes without the average.
        latent_avg: the average code ``[n, style]``.
        mappers: by edit.
        decoders: by edit; several edits may have the same one.
    """

    def __init__(
        self, encoder: E4eEncoder, latent_avg: Tensor, mappers: nn.ModuleDict, decoders: Mapping[str, StyleGAN2]
    ) -> None:
        super().__init__()
        self.encoder, self.mappers = encoder, mappers
        self.latent_avg = nn.Parameter(latent_avg, requires_grad=False)
        self.decoders = nn.ModuleDict(dict(decoders))

    def forward(self, x: Tensor, edits: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] with row i edited as ``edits[i]`` says, at the decoders' size."""
        codes = self.encoder(x.contiguous(memory_format=torch.channels_last)) + self.latent_avg
        codes = edited(codes, edits, self.mappers)
        decoders = [self.decoders[edit] for edit in edits]
        if all(decoder is decoders[0] for decoder in decoders):
            y: Tensor = decoders[0](codes)
            return y
        return torch.cat([decoder(code[None]) for decoder, code in zip(decoders, codes, strict=True)])


def edited(codes: Tensor, edits: Sequence[str], mappers: nn.ModuleDict) -> Tensor:
    """w + 0.1 mapper(w), each row of ``codes`` [B, n, style] with the mapper of its edit."""
    moved = codes.clone()
    for edit in dict.fromkeys(edits):
        rows = [i for i, name in enumerate(edits) if name == edit]
        moved[rows] = codes[rows] + STYLECLIP_STRENGTH * mappers[edit](codes[rows])
    return moved


def open_encoder(hidden: int) -> E4eEncoder:
    """An e4e encoder of pSp's size on the open track but for its heads, with random weights."""
    return E4eEncoder(64, n_codes=10, style=OPEN_STYLE, stem=16, stages=OPEN_SHAPE.stages, reduction=8, hidden=hidden)


def load_psp() -> tuple[PspModel, str]:
    """The shipped pSp, frozen, in eval mode, and the SHA-256 of its weights."""
    tensors, digest = load_weights(WEIGHTS, "psp_open")
    psp = open_model()
    psp.load_state_dict(tensors)
    return psp.eval().requires_grad_(False), digest


class StyleClip(Manipulator):
    """G(x, c): x edited as the text c says.

    Args:
        condition: the name of an edit, on the open track one of :data:`EDITS`; by default each image's key chooses one.
    """

    name = "styleclip"
    thread_safe: ClassVar[bool] = True
    float64: ClassVar[bool] = True
    track: ClassVar[str] = "open"
    training: ClassVar[str | None] = "arsbench.manipulators.training.styleclip:train"
    weights_files: ClassVar[tuple[str | Path, ...]] = (
        "arsbench.manipulators:weights/styleclip_open.safetensors",
        "arsbench.manipulators:weights/psp_open.safetensors",
    )

    def set_up(self) -> None:
        """Loads the model; see the base class."""
        condition = self.condition
        self.parts = self.build()
        if condition is not None and not (isinstance(condition, str) and condition in self.parts.mappers):
            raise ArsbenchError(
                f"manipulator 'styleclip' has no such edit{f' {condition!r}' if isinstance(condition, str) else ''}; "
                f"give one of: {', '.join(self.parts.mappers)}"
            )
        self.parts.eval().requires_grad_(False)
        fuse_batch_norms(self.parts.encoder)
        fold_scales(self.parts.decoders)
        self.parts.to(self.device)
        self.parts.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def build(self) -> StyleClipParts:
        """The model with its weights; sets ``weights_sha256``."""
        psp, shared = load_psp()
        tensors, own = load_weights(WEIGHTS, "styleclip_open")
        self.weights_sha256 = combined_sha256(own, shared)
        model = StyleClipModel()
        model.load_state_dict(tensors)
        decoders = dict.fromkeys(EDITS, psp.decoder)
        return StyleClipParts(model.encoder(psp), psp.latent_avg.detach(), model.mappers, decoders)

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> x edited, raw."""
        y = self.parts(x, self.conditions(keys))
        return y if y.shape[-1] == x.shape[-1] else F.adaptive_avg_pool2d(y, x.shape[-1])

    def conditions(self, keys: Sequence[str]) -> list[str]:
        """The edit of each image."""
        if self.condition is not None:
            return [self.condition] * len(keys)
        edits = list(self.parts.mappers)
        return [edits[draw(key, "condition") % len(edits)] for key in keys]


class OfficialStyleClip(StyleClip):
    """G(x, c) by the official e4e encoder and the mappers that the user added, each with its own decoder."""

    track: ClassVar[str] = "paper"
    weights_files: ClassVar[tuple[str | Path, ...]] = ()
    checkpoints: ClassVar[tuple[str, ...]] = ("e4e", "styleclip-*")

    def build(self) -> StyleClipParts:
        """The official model with the user's weights, or with random ones."""
        if self.random_weights:
            with seeded(0):
                decoder = StyleGAN2()
                mappers = nn.ModuleDict({"random": LevelsMapper()})
                return StyleClipParts(E4eEncoder(), torch.zeros(decoder.n_codes, 512), mappers, {"random": decoder})
        tensors, card = load_checkpoint("e4e")
        with torch.device("meta"):
            encoder = E4eEncoder(256, n_codes=len(tensors["latent_avg"]))
        encoder.load_state_dict(_under("encoder", tensors), assign=True)
        mappers, digests = nn.ModuleDict(), [card["sha256"]]
        decoders: dict[str, StyleGAN2] = {}
        for name in sorted(found.name for found in kept() if found.name.startswith("styleclip-")):
            edit = name.removeprefix("styleclip-")
            own, own_card = load_checkpoint(name)
            with torch.device("meta"):
                mapper = LevelsMapper(512, (4, 8), *(level in own_card["levels"] for level in LEVELS))
                decoder = StyleGAN2(own_card["output_size"])
            mapper.load_state_dict(_under("mapper", own), assign=True)
            decoder.load_state_dict(_under("decoder", own), assign=True)
            mappers[edit] = mapper
            decoders[edit] = next((d for d in decoders.values() if _same(d, decoder)), decoder)
            digests.append(own_card["sha256"])
        if not mappers:
            raise ArsbenchError(
                "manipulator 'styleclip' has no edit on the paper track; add one with: "
                "arsbench checkpoints add styleclip FILE --edit NAME"
            )
        self.weights_sha256 = combined_sha256(*digests)
        return StyleClipParts(encoder, tensors["latent_avg"], mappers, decoders)


def _under(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(f"{start}."): v for k, v in tensors.items() if k.startswith(f"{start}.")}


def _same(a: nn.Module, b: nn.Module) -> bool:
    # Edits of one family share their decoder, which is kept in memory once.
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
