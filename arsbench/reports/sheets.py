"""Faces for pages: before, protected, perturbed, manipulated, at every level of a slider.

A sheet is one picture per manipulator and perturbation: a line of tiles per level, four tiles per face. A page shows
one tile of it at a time, so that a slider needs no request and no script draws a picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Pictures
from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.errors import describe
from arsbench.faces.delivery import audit, deliver, to_bytes
from arsbench.running.bench import Batch, Bench
from arsbench.running.engines.local import precise
from arsbench.running.evaluate import manipulate, perturb, reference
from arsbench.running.plan import Protection, Severity
from arsbench.running.prepare import Prepared
from arsbench.running.protect import protect
from arsbench.running.references import ReferenceCache, default_folder

TILES = 4
"""Per face and level: p(x), p(x_p), y, y_p."""
QUALITY = 88
"""Of the sheets' WebP: at 64 pixels a tile is about 2 kB where the lossless one is 8."""
REMARK = "The pictures are compressed for this page; the numbers were computed from the exact ones."

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """A face of a sheet, and what is said below its name."""

    key: str
    said: str = ""


@dataclass(frozen=True)
class Sheets:
    """What a page needs to know of its sheets.

    Attributes:
        folder: where they lie, from the page: ``MANIPULATOR--PERTURBATION.webp``.
        images: the faces, in the order of the tiles.
        manipulators: that there are sheets of.
        perturbations: likewise.
        levels: of the lines, top to bottom.
        remark: a sentence below the pictures.
    """

    folder: str
    images: tuple[Shown, ...]
    manipulators: tuple[str, ...]
    perturbations: tuple[str, ...]
    levels: tuple[int, ...]
    remark: str = REMARK

    @property
    def columns(self) -> int:
        """Tiles in a line."""
        return TILES * len(self.images)


def draw(
    prepared: Prepared,
    indices: Sequence[int],
    protector: str,
    given: Mapping[str, Tensor] | None,
    write: Callable[[str, bytes], None],
    advance: Callable[[], None] = lambda: None,
    epsilon: float | None = None,
    trained_on: str = "",
) -> tuple[str, ...]:
    """Computes the sheets of some faces and hands each to ``write`` with its file name.

    Args:
        prepared: the methods and faces.
        indices: which faces, as places in ``prepared.plan.images``.
        protector: makes x_p, where ``given`` does not say it; its name.
        given: manipulator -> x_p ``[B, 3, H, W]`` of these faces, made elsewhere; audited as any other.
        write: takes the file's name and its bytes.
        advance: called after every sheet.
        epsilon: the budget, where the plan has several.
        trained_on: the manipulator that the protector was made against; empty for the one that it is shown on.

    Returns:
        The manipulators that there are sheets of: those that the protector meets.

    Raises:
        ArsbenchError: a method fails, or a picture is beyond its budget.
    """
    source = prepared.source.batch(indices)
    budget = prepared.plan.epsilons[0] if epsilon is None else epsilon
    drawn = []
    for model in prepared.plan.manipulators:
        bench = prepared.bench(model, ReferenceCache(default_folder(), writable=False))
        protection = _protection(bench, protector, budget, trained_on)
        if given is None and protection is None:
            continue
        batch = Batch(tuple(prepared.plan.images[i] for i in indices), source)
        try:
            with precise():
                x = deliver(source.to(bench.manipulator.device))
                white = protection is not None and bench.protectors[protection].ceiling
                if given is not None:
                    x_p = audit(x, given[model].to(x.device), budget, protector, batch.keys)
                else:
                    assert protection is not None
                    x_p = protect(bench, protection, x, batch.keys).faces
                for perturbation, sheet in _sheets(bench, batch, x, x_p, white):
                    write(f"{model}--{perturbation}.webp", encode(sheet))
                    advance()
        except ArsbenchError:
            raise
        except Exception as error:  # the methods may be a stranger's
            raise ArsbenchError(f"the faces of '{model}' cannot be made: {describe(error)}") from error
        drawn.append(model)
    return tuple(drawn)


def _protection(bench: Bench, protector: str, epsilon: float, trained_on: str) -> Protection | None:
    """That of the bench with these names; a ceiling has no budget."""
    names = (one for one in bench.protectors if (one.protector, one.trained_on) == (protector, trained_on))
    return next((one for one in names if one.epsilon in (None, epsilon)), None)


def levels_of(prepared: Prepared) -> tuple[int, ...]:
    """The levels of a sheet's lines."""
    return tuple(sorted({severity.level for severity in prepared.plan.severities}))


def perturbations_of(prepared: Prepared) -> tuple[str, ...]:
    """The perturbations that there are sheets of; ``none`` where nothing is perturbed."""
    names = dict.fromkeys(s.perturbation for s in prepared.plan.severities if s.level > 0)
    return tuple(names) or ("none",)


def _sheets(bench: Bench, batch: Batch, x: Tensor, x_p: Tensor, white: bool) -> Iterator[tuple[str, Pixels]]:
    """Perturbation -> its sheet ``[levels * H, B * TILES * W, 3]``."""
    first = _line(bench, batch, Severity(), x, x_p, white)
    by_name: dict[str, list[Pixels]] = {}
    for severity in bench.plan.severities:
        if severity.level > 0:
            lines = by_name.setdefault(severity.perturbation, [first])
            lines.append(_line(bench, batch, severity, x, x_p, white))
    for name, lines in (by_name or {"none": [first]}).items():
        yield name, np.concatenate(lines)


@torch.no_grad()
def _line(bench: Bench, batch: Batch, severity: Severity, x: Tensor, x_p: Tensor, white: bool) -> Pixels:
    """The tiles of one level, side by side ``[H, B * TILES * W, 3]``; ``white`` for the ceiling, whose y_p is blank."""
    px = perturb(bench, severity, x, batch.keys)
    px_p = perturb(bench, severity, x_p, batch.keys)
    y = reference(bench, batch, severity, px)
    y_p = torch.ones_like(y) if white else manipulate(bench, px_p, batch.keys)
    tiles = to_bytes(torch.stack([part.cpu() for part in (px, px_p, y, y_p)], dim=1))  # [B, TILES, H, W, 3]
    flat: Pixels = tiles.flatten(0, 1).numpy()
    return np.concatenate(list(flat), axis=1)


def encode(sheet: Pixels) -> bytes:
    """A sheet as WebP."""
    out = io.BytesIO()
    Pictures.fromarray(sheet).save(out, format="WEBP", quality=QUALITY, method=4)
    return out.getvalue()
