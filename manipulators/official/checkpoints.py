"""The user's official checkpoints: read as they are published, checked key by key, kept as safetensors.

What is kept lies under ``$XDG_CACHE_HOME/arsbench/checkpoints``, one file each with a card beside it, in the precision
it came in: ``psp``, ``e4e``, ``simswap``, ``arcface``, and ``styleclip-NAME`` for each edit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arsbench.cards import file_sha256
from arsbench.contracts import ArsbenchError
from arsbench.errors import describe
from arsbench.manipulators.networks.arcface import ArcFace
from arsbench.manipulators.networks.psp_encoder import E4eEncoder, PspEncoder
from arsbench.manipulators.networks.simswap import SimSwapGenerator
from arsbench.manipulators.networks.styleclip_mapper import LevelsMapper
from arsbench.manipulators.networks.stylegan2 import StyleGAN2
from arsbench.manipulators.official.kept import Kept, checkpoints_folder, kept, verify
from arsbench.manipulators.official.restricted_reader import Stub, read_checkpoint, tensors_of

STYLE = 512
E4E = "Encoder4Editing"
"""What e4e's options call its encoder; its keys are pSp's."""
LEVELS = ("course", "medium", "fine")
"""As the mapper's keys spell them."""
NAMED = 3
"""Keys that a sentence names of each kind of misfit."""


@dataclass(frozen=True)
class Converted:
    """What a checkpoint was found to hold.

    Attributes:
        tensors: by the names of this project's networks.
        facts: for the card: what has to be known to build the network.
        notes: what the user should know, in sentences.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()


# --- the layouts ----------------------------------------------------------------------------------------------------


def _psp(found: Any, path: Path) -> Converted:
    state, options = _state_and_options(found, path, "pSp")
    if options.get("encoder_type") == E4E:
        raise ArsbenchError(f"{path} is an e4e checkpoint, not a pSp one; add it with: arsbench checkpoints add e4e")
    return _encoder_and_decoder(state, options, found, path, "pSp", PspEncoder)


def _e4e(found: Any, path: Path) -> Converted:
    state, options = _state_and_options(found, path, "e4e")
    if options.get("encoder_type") != E4E:
        raise ArsbenchError(
            f"{path} is not an e4e checkpoint: its options name the encoder {options.get('encoder_type')!r}, not "
            f"{E4E!r}; if it is pSp's, add it with: arsbench checkpoints add psp"
        )
    return _encoder_and_decoder(state, options, found, path, "e4e", E4eEncoder)


def _encoder_and_decoder(
    state: dict[str, Tensor],
    options: Mapping[str, Any],
    found: Mapping[str, Any],
    path: Path,
    what: str,
    encoder: Callable[..., nn.Module],
) -> Converted:
    if options.get("learn_in_w"):
        raise ArsbenchError(f"{path} was trained in w, not w+ (learn_in_w), which is not supported")
    wanted = {k: v for k, v in state.items() if k.split(".")[0] in ("encoder", "decoder")}
    rows = len({k.split(".")[2] for k in wanted if k.startswith("encoder.styles.")})
    said = next((options[k] for k in ("output_size", "stylegan_size") if options.get(k) is not None), None)
    size = 2 ** ((rows + 2) // 2) if rows else int(said or 1024)
    if rows and said is not None and int(said) != size:
        raise ArsbenchError(f"{path} contradicts itself: its options say {said} pixels, its {rows} style heads {size}")
    with torch.device("meta"):
        parts = nn.ModuleDict({"encoder": encoder(256, n_codes=max(rows, 2)), "decoder": StyleGAN2(size)})
    tensors = _fitted(wanted, parts, path, what)
    average = found.get("latent_avg")
    if not options.get("start_from_latent_avg", True):
        tensors["latent_avg"] = torch.zeros(rows, STYLE)  # the official code adds none then, whatever stands beside
    elif isinstance(average, Tensor):
        if average.shape not in ((STYLE,), (rows, STYLE), (1, STYLE)):
            raise ArsbenchError(f"{path} has a latent_avg of shape {list(average.shape)}, not [{rows}, {STYLE}]")
        tensors["latent_avg"] = average.detach().expand(rows, -1).clone()
    else:
        raise ArsbenchError(
            f"{path} has no latent_avg although its options ask for one; it may be cut down: fetch it again"
        )
    return Converted(tensors, {"output_size": size})


def _styleclip(found: Any, path: Path) -> Converted:
    state, _ = _state_and_options(found, path, "StyleCLIP mapper")
    wanted = {k: v for k, v in state.items() if k.split(".")[0] in ("mapper", "decoder")}
    levels = [level for level in LEVELS if any(k.startswith(f"mapper.{level}_mapping.") for k in wanted)]
    if not levels:
        raise ArsbenchError(f"{path} is not a latent mapper of StyleCLIP: it has no keys 'mapper.*_mapping.*'")
    noises = sum(k.startswith("decoder.noises.") for k in wanted)
    size = 2 ** ((noises + 3) // 2)
    with torch.device("meta"):
        mapper = LevelsMapper(STYLE, (4, 8), *(level in levels for level in LEVELS))
        parts = nn.ModuleDict({"mapper": mapper, "decoder": StyleGAN2(size)})
    return Converted(_fitted(wanted, parts, path, "StyleCLIP mapper"), {"output_size": size, "levels": levels})


def _simswap(found: Any, path: Path) -> Converted:
    given = tensors_of(found)
    if all(any(key.startswith(part) for key in given) for part in ("down0.0.", "up0.", "first_layer.1.")):
        raise ArsbenchError(
            f"{path} is SimSwap's generator for 512 pixels, with one more layer on each side; the paper's is that for "
            "224 pixels: checkpoints/people/latest_net_G.pth"
        )
    with torch.device("meta"):
        network = SimSwapGenerator()
    tensors = _fitted(given, network, path, "SimSwap generator")
    notes: tuple[str, ...] = ()
    if _draws_without_tanh(tensors):
        notes = (
            f"{path.name} reproduces a face better without the last tanh than with it: it looks like a generator of "
            "SimSwap's newer training code, whose keys are the same and whose output is not; the official one is "
            "checkpoints/people/latest_net_G.pth",
        )
    return Converted(tensors, {}, notes)


def _arcface(found: Any, path: Path) -> Converted:
    # A whole module, a training's dictionary around one, either inside DataParallel, or a plain state_dict.
    model = found["model"] if isinstance(found, Mapping) and isinstance(found.get("model"), Stub) else found
    if isinstance(model, Stub) and "module" in (vars(model).get("_modules") or {}):
        model = vars(model)["_modules"]["module"]
    with torch.device("meta"):
        network = ArcFace()
    return Converted(_fitted(tensors_of(model), network, path, "ArcFace identity encoder"), {})


KINDS: dict[str, Callable[[Any, Path], Converted]] = {
    "psp": _psp,
    "e4e": _e4e,
    "simswap": _simswap,
    "arcface": _arcface,
    "styleclip": _styleclip,
}


def _state_and_options(found: Any, path: Path, what: str) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    options = found.get("opts") if isinstance(found, Mapping) else None
    options = vars(options) if isinstance(options, Stub) else options
    if not isinstance(found, Mapping) or "state_dict" not in found or not isinstance(options, Mapping):
        raise ArsbenchError(f"{path} is not a {what} checkpoint: it has no state_dict with opts{_looks_like(found)}")
    return tensors_of(found["state_dict"]), options


_SIGNATURES = {
    "first_layer.1.weight": ("a SimSwap generator", "simswap"),
    "layer1.0.prelu.weight": ("an ArcFace identity encoder", "arcface"),
}


def _looks_like(found: Any) -> str:
    names = set(found) if isinstance(found, Mapping) else set(tensors_of(found))
    for key, (what, kind) in _SIGNATURES.items():
        if key in names:
            return f"; it looks like {what}: arsbench checkpoints add {kind}"
    if "g_ema" in names:
        return "; it looks like a StyleGAN2 generator alone, which comes inside pSp's and e4e's checkpoints"
    if "state_dict" in names and "opts" in names:
        return "; it looks like pSp, e4e or a StyleCLIP mapper: arsbench checkpoints add psp, e4e or styleclip"
    return ""


def _fitted(given: dict[str, Tensor], network: nn.Module, path: Path, what: str) -> dict[str, Tensor]:
    """``given``, once its keys and shapes are found to be the network's.

    Raises:
        ArsbenchError: keys are missing, unexpected or mis-shaped; the first of each are named.
    """
    wanted = network.state_dict()
    # Written before batch normalisation counted its batches.
    given = given | {
        key: torch.zeros(tensor.shape, dtype=tensor.dtype)
        for key, tensor in wanted.items()
        if key.endswith("num_batches_tracked") and key not in given
    }
    misfits = {
        "missing": [key for key in wanted if key not in given],
        "unexpected": [key for key in given if key not in wanted],
        "mis-shaped": [
            f"{key} {list(given[key].shape)} instead of {list(tensor.shape)}"
            for key, tensor in wanted.items()
            if key in given and given[key].shape != tensor.shape
        ],
    }
    if any(misfits.values()):
        said = "; ".join(
            f"{len(keys)} {kind} ({', '.join(keys[:NAMED])}{', ...' if len(keys) > NAMED else ''})"
            for kind, keys in misfits.items()
            if keys
        )
        hint = _looks_like(given) if len(misfits["missing"]) == len(wanted) else ""
        raise ArsbenchError(f"{path} is not the official {what}: keys {said}{hint}")
    return {key: given[key] for key in wanted}


@torch.no_grad()
def _draws_without_tanh(tensors: dict[str, Tensor]) -> bool:
    """Whether what stands before the last tanh is closer to the normalised input than the output is to the input.

    The newer code takes and gives pictures normalised by ImageNet's statistics, the official one [0, 1].
    """
    network = SimSwapGenerator().eval()
    network.load_state_dict(
        {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    )
    ramp = torch.linspace(0, 1, 64)
    x = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), (ramp + ramp[:, None]) / 2])[None]
    identity = F.normalize(torch.ones(1, 512), dim=1)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    normalised = (x - mean) / std
    with_tanh = F.mse_loss(network(x, identity), x)
    network.last_layer[2] = nn.Identity()
    without = F.mse_loss((network(normalised, identity) * 2 - 1) * std + mean, x)
    # Random weights draw neither; a trained generator draws one of them far better than the other.
    return bool(without < with_tanh / 2)


# --- adding, listing, verifying, loading ----------------------------------------------------------------------------


def add(kind: str, path: Path, edit: str | None = None) -> tuple[Kept, tuple[str, ...]]:
    """Reads, checks and keeps a checkpoint.

    Args:
        kind: one of :data:`KINDS`.
        path: the file as it was published.
        edit: the name a StyleCLIP edit goes by; by default the file's.

    Returns:
        What was kept, and what the user should know about it.

    Raises:
        ArsbenchError: the file would run code, is damaged, or is another model's; the folder cannot be written.
    """
    name = kind
    if kind == "styleclip":
        edit = edit or path.stem
        if not re.fullmatch(r"[A-Za-z0-9_-]+", edit):
            raise ArsbenchError(
                f"{edit!r} cannot be the name of an edit; give --edit NAME, of letters, digits, - and _"
            )
        name = f"styleclip-{edit}"
    elif edit is not None:
        raise ArsbenchError(f"--edit names a StyleCLIP edit; leave it out for {kind}")
    found = read_checkpoint(path)
    try:
        converted = KINDS[kind](found, path)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = describe(error)[:120]
        raise ArsbenchError(
            f"{path} is not the official {kind} checkpoint: what stands in it is of another kind ({reason})"
        ) from error
    tensors = {key: tensor.clone().contiguous() for key, tensor in converted.tensors.items()}
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.is_floating_point()}
    card = {
        "what": kind,
        **({"edit": edit} if kind == "styleclip" else {}),
        **converted.facts,
        "precision": ", ".join(sorted(kinds)),
        "source": path.name,
        "source_sha256": file_sha256(path),
        "licence": "the checkpoint's own; it was brought by the user",
    }
    folder = checkpoints_folder()
    target, partial = folder / f"{name}.safetensors", folder / f"{name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial)
        card["sha256"] = file_sha256(partial)
        partial.replace(target)
        target.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ArsbenchError(
            f"the checkpoint cannot be kept in {folder} ({error}); set XDG_CACHE_HOME to a folder of yours"
        ) from error
    return Kept(name, target, card), converted.notes


def load(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a kept checkpoint, in float32, and its card.

    Raises:
        ArsbenchError: it was not added, or is damaged.
    """
    folder = checkpoints_folder()
    checkpoint = next((found for found in kept() if found.name == name), None)
    if checkpoint is None:
        kind = name.split("-")[0]
        raise ArsbenchError(
            f"the official checkpoint '{name}' is not in {folder}; add yours with: arsbench checkpoints add {kind} FILE"
        )
    wrong = verify(checkpoint)
    if wrong is not None:
        raise ArsbenchError(f"the checkpoint '{name}' cannot be used: {wrong}")
    try:
        tensors = load_file(checkpoint.path)
    except SafetensorError as error:
        raise ArsbenchError(f"the checkpoint {checkpoint.path} cannot be read; add it again") from error
    return {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}, checkpoint.card
