"""One photo from the file that is given to the file that is written: the stages of ``arsbench protect`` in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arsbench import registry
from arsbench.contracts import ArsbenchError, Manipulator
from arsbench.faces.sources import pixel_digest
from arsbench.named_sets import TRACK_SIZES
from arsbench.photos.crop import Box, choose_crops
from arsbench.photos.enlarge import REDUCERS, Seen, enlarged, feather
from arsbench.photos.metadata import MARK, has_location, is_protected
from arsbench.photos.noise import ENSEMBLE, noise_for
from arsbench.photos.page import page
from arsbench.photos.picture import Photo, Samples, read_photo
from arsbench.photos.verify import FaceCheck, reduced, verify
from arsbench.photos.write import (
    OutputExistsError,
    add_noise,
    check_written,
    choose_format,
    encode,
    output_name,
    write_new,
)
from arsbench.protocol import check_track, groups
from arsbench.running.checks import check_epsilon
from arsbench.running.loading import choose_device, make_manipulator

STRENGTHS = {"low": 0.1, "medium": 0.2, "high": 0.3}
"""Epsilon in [-1, 1] units; the last is the benchmark's."""


@dataclass(frozen=True)
class Wanted:
    """What a user may choose; the defaults of command line and Python.

    Attributes:
        protector: ``ensemble``, a registered name, or ``FILE.py:Class``.
        manipulator: to be protected against: a name, a comma list, or ``all``.
        strength: one of :data:`STRENGTHS`.
        epsilon: L_inf budget in [-1, 1] units, in place of ``strength``.
        faces: as :func:`arsbench.photos.crop.choose_crops` takes it.
        format: ``same``, ``png``, ``jpeg`` or ``webp``.
        quality: of a lossy format.
        keep_location: keep the place in the EXIF block.
        again: protect a photo that is protected already.
        verify: give the written file to the manipulators.
        seed: of the draws.
        track: whose manipulators.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    protector: str = ENSEMBLE
    manipulator: str = "all"
    strength: str = "medium"
    epsilon: float | None = None
    faces: str = "all"
    format: str = "same"
    quality: int | None = None
    keep_location: bool = False
    again: bool = False
    verify: bool = True
    seed: int = 0
    track: str = "open"
    device: str = "auto"

    @property
    def budget(self) -> float:
        """Epsilon in [-1, 1] units.

        Raises:
            ArsbenchError: no such strength, or an epsilon that is not in (0, 2].
        """
        if self.epsilon is not None:
            check_epsilon(self.epsilon)
            return float(self.epsilon)
        if self.strength not in STRENGTHS:
            raise registry.unknown("strength", self.strength, STRENGTHS)
        return STRENGTHS[self.strength]


@dataclass(frozen=True)
class Outcome:
    """A protected photo.

    Attributes:
        source: the photo's file.
        path: the file that was written.
        page: the page beside it, or ``None``.
        width: of the stored picture, in pixels; the same in both files.
        height: likewise.
        mode: of the written file.
        format: likewise.
        quality: of a lossy codec.
        bytes_in: size of the photo's file.
        bytes_out: of the written one.
        epsilon: L_inf budget in [-1, 1] units.
        changed: the largest change of a sample that was read in the written file, in levels of 255.
        codec: what the codec alone changes, likewise.
        against: what ``changed`` is held to epsilon against; see :class:`arsbench.photos.write.Encoded`.
        boxes: the crops, in pixels of the upright picture.
        faces: what became of each; empty without verification.
        notes: what could not be kept, each a sentence.
    """

    source: str
    path: Path
    page: Path | None
    width: int
    height: int
    mode: str
    format: str
    quality: int | None
    bytes_in: int
    bytes_out: int
    epsilon: float
    changed: float
    codec: float
    against: str
    boxes: Sequence[Box]
    faces: Sequence[FaceCheck]
    notes: Sequence[str] = field(default_factory=list)

    @property
    def works(self) -> bool:
        """Whether every face is changed for every manipulator in the file as it was written, or none was verified."""
        return all(
            verdict.holds for face in self.faces for verdict in face.verdicts if verdict.processing == "as written"
        )


class PhotoProtector:
    """Protects photos; holds the manipulators.

    Raises:
        ArsbenchError: an unknown name or an unusable value.
    """

    def __init__(self, wanted: Wanted) -> None:
        check_track(wanted.track)
        self.wanted, self.epsilon = wanted, wanted.budget
        if wanted.quality is not None and not 1 <= wanted.quality <= 100:
            raise ArsbenchError(f"quality is {wanted.quality}; give a whole number from 1 to 100")
        if wanted.format not in ("same", "png", "jpeg", "webp"):
            raise registry.unknown("format", wanted.format, ("same", "png", "jpeg", "webp"))
        self.size = TRACK_SIZES[wanted.track]
        if wanted.protector != ENSEMBLE:
            registry.find("protector", wanted.protector)
        device = choose_device(wanted.device)
        methods = registry.resolve("manipulator", wanted.manipulator, groups("manipulator"))
        self.manipulators: list[Manipulator] = [make_manipulator(m, wanted.track, device) for m in methods]

    def noise(self, photo: Photo) -> tuple[NDArray[np.float32], list[Box], list[str]]:
        """Noise for a photo: ``[H, W, 3]`` of the upright picture in [-1, 1] units, the crops, and their keys.

        Raises:
            ArsbenchError: no face was found, or the protector fails.
        """
        upright = photo.upright()
        boxes = choose_crops(upright, self.wanted.faces, photo.name)
        digest = pixel_digest(np.asarray(upright))[:16]
        keys = [f"photo/{digest}/{i}" for i in range(len(boxes))]
        fades = [box.fades(*upright.size) for box in boxes]
        seen = [Seen(self.size, b.height, b.width, f, self.epsilon) for b, f in zip(boxes, fades, strict=True)]
        how = REDUCERS["bilinear"]
        x = torch.stack([reduced(upright, box, upright.size, self.size, how) for box in boxes])
        device = self.manipulators[0].device
        made: Tensor = noise_for(
            self.wanted.protector,
            x.to(device),
            keys,
            self.manipulators,
            self.epsilon,
            seen,
            photo.grey,
            self.wanted.seed,
        ).cpu()
        whole = np.zeros((upright.height, upright.width, 3), dtype=np.float32)
        for box, fading, small in zip(boxes, fades, made, strict=True):
            large = enlarged(small, box.height, box.width, self.epsilon)
            large *= feather(box.height, box.width, fading)[..., None]
            whole[box.top : box.bottom, box.left : box.right] += large
        return np.clip(whole, -self.epsilon, self.epsilon), boxes, keys

    def samples(self, photo: Photo) -> tuple[Samples, list[Box], list[str]]:
        """The protected samples of a photo, the crops and their keys; nothing is written.

        Raises:
            ArsbenchError: as :meth:`noise`; or it bears the mark already, unless that was allowed.
        """
        if is_protected(photo) and not self.wanted.again:
            raise ArsbenchError(
                f"{photo.name} was protected before; give the original, or protect it once more with --again"
            )
        noise, boxes, keys = self.noise(photo)
        return add_noise(photo, noise, self.epsilon), boxes, keys

    def protect_file(self, source: Path, folder: Path, name: str | None = None) -> Outcome:
        """Protects one photo and writes it, with its page, into ``folder``.

        Args:
            source: the photo.
            folder: made if missing.
            name: relative path of the written file, without regard to a format that changes; by default the source's.

        Raises:
            ArsbenchError: see :meth:`samples`; or the file exists, cannot hold the mode, or is not what was meant.
        """
        wanted = self.wanted
        photo = read_photo(source)
        format = choose_format(photo, wanted.format)
        path = folder / Path(name or source.name).parent / output_name(source, format, format)
        side = path.with_name(f"{path.name}.html")
        for planned in (path, side) if wanted.verify else (path,):
            if planned.exists() or planned.is_symlink():
                raise OutputExistsError(planned)
        samples, boxes, keys = self.samples(photo)
        if has_location(photo) and not wanted.keep_location:
            photo.notes.append("the place in its metadata was left out; --keep-location keeps it")
        encoded = encode(photo, samples, self.epsilon, format, wanted.quality, wanted.keep_location, self.mark())
        write_new(path, encoded.data)
        again, changed = check_written(path, photo, encoded, self.epsilon)
        faces: list[FaceCheck] = []
        if wanted.verify:
            faces = verify(photo.upright(), again.upright(), boxes, keys, self.manipulators, self.size)
        outcome = Outcome(
            source=str(source),
            path=path,
            page=side if wanted.verify else None,
            width=photo.image.width,
            height=photo.image.height,
            mode=again.mode,
            format=encoded.format,
            quality=encoded.quality,
            bytes_in=photo.size_in,
            bytes_out=len(encoded.data),
            epsilon=self.epsilon,
            changed=changed,
            codec=encoded.codec,
            against=encoded.against,
            boxes=boxes,
            faces=faces,
            notes=list(dict.fromkeys(photo.notes)),
        )
        if wanted.verify:
            write_new(side, page(outcome, photo.upright(), again.upright()).encode())
        return outcome

    def mark(self) -> str:
        """What stands in the file's EXIF block."""
        return f"{MARK} ({self.wanted.protector}, epsilon {self.epsilon:g})"
