"""The page beside a protected photo: what was changed, what a forger gets, and what that does not mean."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from arsbench.faces.sources import Pixels
from arsbench.photos.verify import PROCESSINGS, FaceCheck, Verdict

if TYPE_CHECKING:
    from arsbench.photos.protect import Outcome

LARGEST = 256
"""Side of the crops on the page, in pixels."""
LIMITS = (
    "What this shows holds for the manipulators named above and for what was tried here. Other processing - a strong "
    "blur, JPEG at a low quality, noise and smoothing, another crop, a network trained to clean pictures - is known to "
    "remove such noise, and these manipulators are small stand-ins that see {size} x {size} pixels: the world's "
    "forgers are other models, and nothing here says that the photo is safe from them."
)


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("arsbench", "photos"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html.j2")


def page(outcome: Outcome, original: Image.Image, protected: Image.Image) -> str:
    """The page as HTML that needs no other file.

    Args:
        outcome: the photo.
        original: upright RGB.
        protected: likewise, as read from the written file.
    """
    faces = []
    for check in outcome.faces:
        crops = [_data(_crop(picture, check)) for picture in (original, protected)]
        forged = [(name, _pixels(before), _pixels(after)) for name, (before, after) in check.forged.items()]
        rows = [(name, [_cell(v) for v in check.verdicts if v.processing == name]) for name in PROCESSINGS]
        faces.append({"box": check.box, "crops": crops, "forged": forged, "rows": rows})
    return _template().render(o=outcome, faces=faces, levels=levels(outcome), limits=limits(outcome.faces))


def levels(outcome: Outcome) -> str:
    """Epsilon and what was measured, in grey levels of 255."""
    text = f"{outcome.changed:.0f} of 255 at most, epsilon is {outcome.epsilon * 127.5:.1f}"
    if outcome.codec:
        text += f"; the {outcome.format} codec alone changes up to {outcome.codec:.0f}"
    if outcome.against != "original":
        text += f", so that the noise was held to epsilon against the {outcome.against}"
    return text


def limits(faces: Sequence[FaceCheck]) -> str:
    """The honest last sentence."""
    size = len(faces[0].pictures["original"]) if faces else 64
    return LIMITS.format(size=size)


def _cell(verdict: Verdict) -> str:
    held = sum(verdict.changed.values())
    if verdict.holds:
        return "changed"
    return f"changed by {held} of {len(verdict.changed)} reducers" if held else "not"


def _crop(picture: Image.Image, check: FaceCheck) -> Image.Image:
    crop = picture.crop(check.box)
    crop.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return crop


def _pixels(pixels: Pixels) -> str:
    return _data(Image.fromarray(pixels))


def _data(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
