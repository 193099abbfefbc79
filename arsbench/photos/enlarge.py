"""Noise made at the manipulators' size, enlarged to the size of a photo's crop - and what a reduction leaves of it.

Enlarging and reducing are linear and separable, so what a manipulator sees of enlarged noise is two small matrices: an
attack can look through them, and noise that was made without them can be corrected for them.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Values = NDArray[np.float32]

ENLARGE = Image.Resampling.BICUBIC
REDUCERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
"""The reductions that noise is made for and verified by, all antialiased; the first is that of ``arsbench run``."""
FEATHER = 1 / 16
"""Of a crop's side: over this much the noise fades towards a border that is not the photo's own."""
CORRECTIONS = 40
"""Steps of the search for noise whose reduction is the one that was asked for."""


def resized(plane: Values, height: int, width: int, how: Image.Resampling) -> Values:
    """``[H, W]`` float32 -> ``[height, width]``."""
    picture = Image.fromarray(plane).resize((width, height), how)
    return np.asarray(picture, dtype=np.float32)


def enlarged(noise: Tensor, height: int, width: int) -> Values:
    """Noise ``[C, S, S]`` -> ``[height, width, C]``, no larger in absolute value than its largest."""
    limit = float(noise.abs().max())
    planes = [resized(plane.numpy(), height, width, ENLARGE) for plane in noise.float()]
    return np.clip(np.stack(planes, 2), -limit, limit)


def feather(height: int, width: int, fades: tuple[bool, bool, bool, bool]) -> Values:
    """Weights ``[height, width]`` in [0, 1] that fall to 0 at those borders left, top, right, bottom that fade."""
    left, top, right, bottom = fades
    return (_ramp(height, top, bottom)[:, None] * _ramp(width, left, right)[None]).astype(np.float32)


def _ramp(side: int, first: bool, last: bool) -> Values:
    at = (np.arange(side, dtype=np.float32) + 0.5) / (side * FEATHER)
    rising = 0.5 - 0.5 * np.cos(np.pi * np.clip(at, 0, 1))
    return ((rising if first else np.ones_like(rising)) * (rising[::-1] if last else 1)).astype(np.float32)


class Seen:
    """What each of :data:`REDUCERS` shows a manipulator of noise that was enlarged to a crop and feathered.

    Args:
        size: of the manipulators' pictures.
        height: of the crop, in pixels.
        width: likewise.
        fades: as :func:`feather` takes them.
    """

    def __init__(self, size: int, height: int, width: int, fades: tuple[bool, bool, bool, bool]) -> None:
        left, top, right, bottom = fades
        self.rows = {name: _operator(size, height, how, top, bottom) for name, how in REDUCERS.items()}
        self.columns = {name: _operator(size, width, how, left, right) for name, how in REDUCERS.items()}

    def __call__(self, noise: Tensor, reducer: str) -> Tensor:
        """Noise ``[..., S, S]`` as it was made -> as it is seen, differentiable."""
        return self.rows[reducer].to(noise) @ noise @ self.columns[reducer].to(noise).T

    def corrected(self, wanted: Tensor, epsilon: float) -> Tensor:
        """Noise within ``epsilon`` of which the reductions show ``wanted`` ``[..., S, S]``, as nearly as that goes."""
        noise = wanted.clone()
        for _ in range(CORRECTIONS):
            missing = torch.zeros_like(noise)
            for name in REDUCERS:
                left = wanted - self(noise, name)
                missing += self.rows[name].to(left).T @ left @ self.columns[name].to(left) / len(REDUCERS)
            noise = (noise + missing).clamp(-epsilon, epsilon)
        return noise


@functools.lru_cache(maxsize=64)
def _operator(size: int, side: int, how: Image.Resampling, first: bool, last: bool) -> Tensor:
    """Enlarging to ``side``, feathering, reducing to ``size`` again, along one axis ``[size, size]``."""
    large = resized(np.eye(size, dtype=np.float32), side, size, ENLARGE) * _ramp(side, first, last)[:, None]
    return torch.from_numpy(resized(np.ascontiguousarray(large), size, size, how).copy())
