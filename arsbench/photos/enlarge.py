"""Noise made at the manipulators' size, enlarged to the size of a photo's crop - and what a reduction leaves of it.

Noise is enlarged steeper than it is and cut off at epsilon: it spends more of the budget where it changes sign, and a
reduction shows up to a fifth more of its energy. All else is linear and separable, so what a manipulator sees are a few
small matrices: an attack can look through them, and noise that was made without them can be corrected for them.
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
STEEPER = 2.0
"""What enlarged noise is multiplied by before it is cut off."""
LARGE = 512
"""Pixels of a crop's side above which what is seen hardly depends on it, and is computed as of a crop of that side."""
FEATHER = 1 / 16
"""Of a crop's side: over this much the noise fades towards a border that is not the photo's own."""
CORRECTIONS = 40
"""Steps of the search for noise whose reduction is the one that was asked for."""


def resized(plane: Values, height: int, width: int, how: Image.Resampling) -> Values:
    """``[H, W]`` float32 -> ``[height, width]``."""
    picture = Image.fromarray(plane).resize((width, height), how)
    return np.asarray(picture, dtype=np.float32)


def enlarged(noise: Tensor, height: int, width: int, epsilon: float) -> Values:
    """Noise ``[C, S, S]`` -> ``[height, width, C]`` within ``epsilon``."""
    planes = [resized(plane.numpy(), height, width, ENLARGE) for plane in noise.float()]
    return np.clip(STEEPER * np.stack(planes, 2), -epsilon, epsilon)


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
        epsilon: L_inf budget in [-1, 1] units, at which enlarged noise is cut off.
    """

    def __init__(
        self, size: int, height: int, width: int, fades: tuple[bool, bool, bool, bool], epsilon: float
    ) -> None:
        left, top, right, bottom = fades
        height, width = min(height, LARGE), min(width, LARGE)
        self.epsilon = epsilon
        self.up = _enlarging(size, height), _enlarging(size, width)
        self.down = {
            name: (_reducing(size, height, how, top, bottom), _reducing(size, width, how, left, right))
            for name, how in REDUCERS.items()
        }

    def __call__(self, noise: Tensor, reducer: str) -> Tensor:
        """Noise ``[..., S, S]`` as it was made -> as it is seen, differentiable; gradients pass where it is cut off."""
        large = STEEPER * _through(self.up, noise)
        large = large + (large.clamp(-self.epsilon, self.epsilon) - large).detach()
        return _through(self.down[reducer], large)

    def corrected(self, wanted: Tensor) -> Tensor:
        """Noise within epsilon of which the reductions show ``wanted`` ``[..., S, S]``, as nearly as that goes."""
        noise = wanted / STEEPER
        up = tuple(matrix.T for matrix in self.up)
        for _ in range(CORRECTIONS):
            missing = torch.zeros_like(noise)
            for name, down in self.down.items():
                left = wanted - self(noise, name)
                missing += _through(up, _through(tuple(matrix.T for matrix in down), left)) / len(REDUCERS)
            noise = (noise + missing / STEEPER).clamp(-self.epsilon, self.epsilon)
        return noise


def _through(matrices: tuple[Tensor, ...], planes: Tensor) -> Tensor:
    """``planes`` [..., H, W] by one matrix along their rows and one along their columns."""
    rows, columns = (matrix.to(planes) for matrix in matrices)
    return rows @ planes @ columns.T


@functools.lru_cache(maxsize=64)
def _enlarging(size: int, side: int) -> Tensor:
    """Enlarging from ``size`` to ``side`` along one axis ``[side, size]``."""
    return torch.from_numpy(resized(np.eye(size, dtype=np.float32), side, size, ENLARGE).copy())


@functools.lru_cache(maxsize=64)
def _reducing(size: int, side: int, how: Image.Resampling, first: bool, last: bool) -> Tensor:
    """Feathering, and reducing from ``side`` to ``size``, along one axis ``[size, side]``."""
    fading = np.diag(_ramp(side, first, last)).astype(np.float32)
    return torch.from_numpy(resized(np.ascontiguousarray(fading), size, side, how).copy())
