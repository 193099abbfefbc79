"""AVIF compression, where Pillow has the codec."""

from __future__ import annotations

from typing import ClassVar

from PIL import features

from arsbench.contracts import ArsbenchError, Levels
from arsbench.perturbations.codec import Codec, Pixels, written_and_read


class Avif(Codec):
    """AVIF with 4:2:0 chroma at the quality that the parameter gives, as Pillow's libavif writes and reads it."""

    name = "avif"
    levels: ClassVar[Levels] = (90, 75, 60, 45, 30)
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def code(self, pixels: Pixels, parameter: float) -> Pixels:
        """uint8 pixels ``[H, W, 3]`` -> what the codec leaves of them.

        Raises:
            ArsbenchError: Pillow was built without AVIF.
        """
        if not features.check("avif"):
            raise ArsbenchError("perturbation 'avif' needs a Pillow with AVIF; install Pillow 11.3 or newer from PyPI")
        return written_and_read(pixels, "AVIF", quality=round(parameter), max_threads=1)
