"""What a platform does to an upload: made smaller, sharpened, compressed, shown at size again."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PIL import Image, ImageFilter

from arsbench.contracts import Levels
from arsbench.perturbations.codec import Codec, Pixels, written_and_read

SMALLER = 0.75
SHARPEN = ImageFilter.UnsharpMask(radius=1, percent=80, threshold=0)
QUALITY = 70


class PlatformChain(Codec):
    """Lanczos to three quarters, unsharp mask, JPEG 70 with 4:2:0 chroma, bicubic back; the parameter blends it in."""

    name = "platform_chain"
    levels: ClassVar[Levels] = (0.2, 0.4, 0.6, 0.8, 1.0)
    batch_invariant: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True

    def code(self, pixels: Pixels, parameter: float) -> Pixels:
        """uint8 pixels ``[H, W, 3]`` -> what comes back."""
        picture = Image.fromarray(pixels)
        small = (max(1, round(SMALLER * picture.width)), max(1, round(SMALLER * picture.height)))
        sharp = picture.resize(small, Image.Resampling.LANCZOS).filter(SHARPEN)
        coded = written_and_read(np.asarray(sharp), "JPEG", quality=QUALITY, subsampling="4:2:0")
        shown = Image.fromarray(coded).resize(picture.size, Image.Resampling.BICUBIC)
        return np.asarray(Image.blend(picture, shown, parameter))
