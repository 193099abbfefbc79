"""Whether the written file does what it is for: read again, reduced and processed as others would, and manipulated."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from arsbench.contracts import Manipulator, Pair
from arsbench.faces.delivery import from_bytes, to_bytes
from arsbench.faces.sources import Pixels
from arsbench.photos.crop import Box
from arsbench.photos.enlarge import REDUCERS
from arsbench.scoring.sr_strict import StrictSuccessRate

JPEG_QUALITY = 75
WIDER = 0.1
"""Of a crop's side: by how much another forger's crop is wider, on all four sides together."""


@dataclass(frozen=True)
class Verdict:
    """One face, one manipulator, one processing.

    Attributes:
        manipulator: its name.
        processing: one of :data:`PROCESSINGS`.
        changed: by reducer, whether the protected output is changed in the sense of ``sr_strict``.
    """

    manipulator: str
    processing: str
    changed: Mapping[str, bool]

    @property
    def holds(self) -> bool:
        """Whether it is changed under every reducer."""
        return all(self.changed.values())


@dataclass(frozen=True)
class FaceCheck:
    """What became of one face.

    Attributes:
        box: its crop.
        verdicts: one per manipulator and processing.
        pictures: as seen by the first manipulator's reduction, 8-bit pixels: ``original``, ``protected``.
        forged: manipulator -> its output from the original and from the protected.
    """

    box: Box
    verdicts: Sequence[Verdict]
    pictures: Mapping[str, Pixels]
    forged: Mapping[str, tuple[Pixels, Pixels]]

    def count(self, processing: str) -> int:
        """How many manipulators are changed after a processing."""
        return sum(verdict.holds for verdict in self.verdicts if verdict.processing == processing)


def _jpeg(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return Image.open(buffer).convert("RGB")


def _half(picture: Image.Image) -> Image.Image:
    return picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)), Image.Resampling.BILINEAR)


PROCESSINGS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "as written": lambda picture: picture,
    "JPEG 75": _jpeg,
    "half size": _half,
    "half size, JPEG 75": lambda picture: _jpeg(_half(picture)),
    "cropped wider": lambda picture: picture,
}
"""What happens to the whole photo before a forger crops it; the last one's crop is another."""


def reduced(picture: Image.Image, box: Box, whole: tuple[int, int], size: int, how: Image.Resampling) -> Tensor:
    """A crop of a photo at the manipulators' size ``[3, size, size]``, delivered.

    Args:
        picture: RGB, the photo or a smaller copy of it.
        box: the crop in the photo's own pixels.
        whole: the photo's own width and height.
        size: of the manipulators' pictures.
        how: it is reduced.
    """
    x, y = picture.width / whole[0], picture.height / whole[1]
    area = (box.left * x, box.top * y, min(box.right * x, picture.width), min(box.bottom * y, picture.height))
    return from_bytes(torch.from_numpy(np.array(picture.resize((size, size), how, box=area))))


def widened(box: Box, whole: tuple[int, int]) -> Box:
    """A crop that another forger might take: wider, as far as the photo goes."""
    x, y = round(box.width * WIDER / 2), round(box.height * WIDER / 2)
    return Box(max(box.left - x, 0), max(box.top - y, 0), min(box.right + x, whole[0]), min(box.bottom + y, whole[1]))


@torch.no_grad()
def verify(
    original: Image.Image,
    protected: Image.Image,
    boxes: Sequence[Box],
    keys: Sequence[str],
    manipulators: Sequence[Manipulator],
    size: int,
) -> list[FaceCheck]:
    """Gives each face of two photos to each manipulator, reduced in several ways, before and after processing.

    Args:
        original: upright RGB.
        protected: likewise, as read from the written file.
        boxes: the crops.
        keys: one per crop; it chooses the manipulators' condition.
        manipulators: that are to be changed.
        size: of their pictures.
    """
    whole = original.size
    reductions = list(REDUCERS.values())
    crops: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
    for name, process in PROCESSINGS.items():
        before, after = process(original), process(protected)
        for i, box in enumerate(boxes):
            taken = widened(box, whole) if name == "cropped wider" else box
            x, x_p = (
                torch.stack([reduced(picture, taken, whole, size, how) for how in reductions])
                for picture in (before, after)
            )
            crops[i, name] = (x, x_p)
    return [_check(i, box, keys[i], crops, manipulators) for i, box in enumerate(boxes)]


def _check(
    i: int,
    box: Box,
    key: str,
    crops: Mapping[tuple[int, str], tuple[Tensor, Tensor]],
    manipulators: Sequence[Manipulator],
) -> FaceCheck:
    n = len(REDUCERS)
    x = torch.cat([crops[i, name][0] for name in PROCESSINGS])
    x_p = torch.cat([crops[i, name][1] for name in PROCESSINGS])
    verdicts, forged = [], {}
    for model in manipulators:
        on = x.to(model.device), x_p.to(model.device)
        y, y_p = (model.manipulate(v, [key] * len(v)).clamp(-1, 1) for v in on)
        strict = StrictSuccessRate().measure(Pair(y, y_p, *on))
        assert strict is not None  # both inputs are given
        for j, name in enumerate(PROCESSINGS):
            values = strict[j * n : (j + 1) * n].tolist()
            changed = {reducer: value > 0 for reducer, value in zip(REDUCERS, values, strict=True)}
            verdicts.append(Verdict(model.name, name, changed))
        forged[model.name] = (to_bytes(y[0].cpu()).numpy(), to_bytes(y_p[0].cpu()).numpy())
    pictures = {"original": to_bytes(x[0]).numpy(), "protected": to_bytes(x_p[0]).numpy()}
    return FaceCheck(box, verdicts, pictures, forged)
