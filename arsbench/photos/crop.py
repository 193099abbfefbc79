"""Where the faces of a photo are: found, chosen, given, and cropped as the manipulators know faces."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

from arsbench.contracts import ArsbenchError
from arsbench.face_networks.detector import Detection, overlap, without_overlaps
from arsbench.face_networks.loading import load_face_detector
from arsbench.faces.delivery import from_bytes

SCALES = (416, 224, 160)
"""Sides that a photo is reduced to before the detector looks: faces that fill it are found only when it is small."""
FINER = 800
"""A last look, for faces that are small in a large photo."""
FRAME = 1.12
"""Side of a crop over the larger side of the detector's box, and how much of its side the crop lies higher: so lie the
boxes that it finds in the faces of the track."""
RAISED = 0.15


class Box(NamedTuple):
    """A rectangle of the upright photo in whole pixels, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    def fades(self, width: int, height: int) -> tuple[bool, bool, bool, bool]:
        """Which of the borders left, top, right, bottom lie inside a photo of that size."""
        return (self.left > 0, self.top > 0, self.right < width, self.bottom < height)


def find_faces(picture: Image.Image) -> list[Detection]:
    """The faces in an upright RGB picture, the largest first."""
    found = [d for size in SCALES for d in _detect(picture, size)] or _detect(picture, FINER)
    if not found:
        # A face that fills the picture is found with room around it.
        border = max(picture.size) // 2
        roomy = ImageOps.expand(picture, border, (127, 127, 127))
        found = [_moved(d, -border) for size in SCALES for d in _detect(roomy, size)]
    apart: list[Detection] = []
    for candidate in without_overlaps(sorted(found, key=lambda d: -d.score)):
        if not any(_same(candidate, other) for other in apart):
            apart.append(candidate)
    return sorted(apart, key=lambda d: -(d.right - d.left) * (d.bottom - d.top))


def _detect(picture: Image.Image, size: int) -> list[Detection]:
    scale = size / max(picture.size)
    reduced = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.BILINEAR
    )
    x = from_bytes(torch.from_numpy(np.array(reduced)))
    return [
        Detection(d.left / scale, d.top / scale, d.right / scale, d.bottom / scale, d.score)
        for d in load_face_detector().detect(x, size)
    ]


def _moved(d: Detection, by: int) -> Detection:
    return Detection(d.left + by, d.top + by, d.right + by, d.bottom + by, d.score)


def _same(a: Detection, b: Detection) -> bool:
    """Whether the middle of one box lies in the other: two sights of one face at different scales."""
    return _holds(a, b) or _holds(b, a) or overlap(a, b) > 0.2


def _holds(a: Detection, b: Detection) -> bool:
    x, y = (b.left + b.right) / 2, (b.top + b.bottom) / 2
    return a.left < x < a.right and a.top < y < a.bottom


def framed(face: Detection, width: int, height: int) -> Box:
    """The square around a face as the manipulators know faces, moved into the photo, cut where the photo is smaller."""
    side = FRAME * max(face.right - face.left, face.bottom - face.top)
    x = (face.left + face.right) / 2
    y = (face.top + face.bottom) / 2 - RAISED * side
    w, h = min(round(side), width), min(round(side), height)
    left = min(max(round(x - w / 2), 0), width - w)
    top = min(max(round(y - h / 2), 0), height - h)
    return Box(left, top, left + w, top + h)


def choose_crops(picture: Image.Image, faces: str, name: str) -> list[Box]:
    """The crops that ``faces`` asks for.

    Args:
        picture: upright RGB.
        faces: ``all`` or ``largest`` of those found; ``none``: the whole picture; or boxes
            ``LEFT,TOP,RIGHT,BOTTOM`` in pixels of the upright picture, several separated by ``;``.
        name: of the photo, for messages.

    Raises:
        ArsbenchError: no face was found, or ``faces`` is none of these.
    """
    width, height = picture.size
    if faces == "none":
        return [Box(0, 0, width, height)]
    if faces not in ("all", "largest"):
        return [_given(text.strip(), width, height, name) for text in faces.split(";")]
    found = [box for face in find_faces(picture) if min((box := framed(face, width, height))[2:]) > 0]
    if not found:
        raise ArsbenchError(
            f"no face was found in {name}; say where it is with --faces LEFT,TOP,RIGHT,BOTTOM (pixels), "
            "or take the whole picture with --faces none"
        )
    return found if faces == "all" else found[:1]


def _given(text: str, width: int, height: int, name: str) -> Box:
    if not re.fullmatch(r"\d+(\s*,\s*\d+){3}", text):
        raise ArsbenchError(f"--faces is '{text}'; give all, largest, none, or a box LEFT,TOP,RIGHT,BOTTOM in pixels")
    box = Box(*(int(part) for part in text.split(",")))
    if not (box.left < box.right <= width and box.top < box.bottom <= height) or min(box.width, box.height) < 8:
        raise ArsbenchError(
            f"the box {text} does not lie in {name}, which is {width} x {height} pixels; "
            "give LEFT,TOP,RIGHT,BOTTOM at least 8 pixels apart"
        )
    return box
