"""The differentiable perturbation module p of ARS: drop, resize, blur, masked DCT (Guan et al. 2024, equation 7)."""

from __future__ import annotations

from collections.abc import Callable

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

PROBABILITY = 0.5
"""Each of the four is applied with this probability."""

YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""RGB to luma and chroma (BT.601)."""

Operation = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def drop(x_p: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Equation 7: pixels of the original mixed in, a share of up to four fifths, all channels together."""
    share = _between(0.1, 0.8, generator)
    keep = (torch.rand(len(x), 1, *x.shape[-2:], generator=generator) >= share).to(x)
    return x_p * keep + x * (1 - keep)


def resize(x_p: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Down by a factor of up to 3 and back, bilinear."""
    size = x.shape[-2:]
    factor = _between(1.25, 3.0, generator)
    small = [max(1, round(s / factor)) for s in size]
    down = F.interpolate(x_p, size=small, mode="bilinear", antialias=True)
    return F.interpolate(down, size=size, mode="bilinear")


def blur(x_p: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """A Gaussian of up to 2 pixels."""
    sigma = _between(0.5, 2.0, generator)
    size = 2 * int(3 * sigma + 0.999) + 1
    blurred: Tensor = kornia.filters.gaussian_blur2d(x_p, (size, size), (sigma, sigma))
    return blurred


def masked_dct(x_p: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """High DCT coefficients set to zero, of the halved chroma more: HiDDeN's JPEG mask (Zhu et al. 2018), at 4:2:0."""
    luma = int(torch.randint(2, 6, (), generator=generator))
    chroma = int(torch.randint(1, luma, (), generator=generator))
    colours = torch.tensor(YCBCR).to(x)
    size = x_p.shape[-2:]
    y, cbcr = torch.einsum("ij,bjhw->bihw", colours, x_p).split((1, 2), 1)
    halved = _low_frequencies(F.avg_pool2d(cbcr, 2, ceil_mode=True, count_include_pad=False), chroma)
    cbcr = F.interpolate(halved, size=size, mode="bilinear")
    return torch.einsum("ij,bjhw->bihw", colours.inverse(), torch.cat([_low_frequencies(y, luma), cbcr], 1))


def _low_frequencies(channels: Tensor, diagonals: int) -> Tensor:
    """``channels`` [B, C, H, W] with the first ``diagonals`` diagonals of each 8 x 8 block's coefficients left."""
    b, c, h, w = channels.shape
    frequency = torch.arange(8)
    mask = (frequency[:, None] + frequency[None, :] < diagonals).to(channels)
    basis = dct_basis().to(channels)
    pad = F.pad(channels, (0, -w % 8, 0, -h % 8), mode="replicate")
    blocks = pad.unfold(2, 8, 8).unfold(3, 8, 8)
    blocks = basis.T @ ((basis @ blocks @ basis.T) * mask) @ basis
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(b, c, *pad.shape[-2:])[..., :h, :w]


def dct_basis() -> Tensor:
    """The orthonormal DCT-II matrix ``[8, 8]``, frequency by position."""
    at = torch.arange(8, dtype=torch.float32)
    basis = torch.cos((2 * at[None, :] + 1) * at[:, None] * torch.pi / 16) / 2
    basis[0] /= 2**0.5
    return basis


def unperturbed(x_p: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """The picture as it is."""
    return x_p


OPERATIONS: tuple[Operation, ...] = (drop, resize, blur, masked_dct)


def perturbation_module(x_p: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """p(x_p): each operation with probability 0.5, random strengths; ``x_p``, ``x`` [B, 3, H, W] in [-1, 1]."""
    for operation in OPERATIONS:
        if float(torch.rand((), generator=generator)) < PROBABILITY:
            x_p = operation(x_p, x, generator)
    return x_p
