"""WebP compression."""

from __future__ import annotations

from typing import ClassVar

from arsbench.contracts import Levels
from arsbench.perturbations.codec import Codec, Pixels, written_and_read


class Webp(Codec):
    """Lossy WebP at the quality that the parameter gives, as Pillow's libwebp writes and reads it."""

    name = "webp"
    levels: ClassVar[Levels] = (90, 75, 60, 45, 30)
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def code(self, pixels: Pixels, parameter: float) -> Pixels:
        """uint8 pixels ``[H, W, 3]`` -> what the codec leaves of them."""
        return written_and_read(pixels, "WEBP", quality=round(parameter))
