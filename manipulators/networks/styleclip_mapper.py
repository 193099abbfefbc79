"""StyleCLIP's latent mapper by levels: w+ codes to the step that edits them (Patashnik et al. 2021, figure 3).

Parameter names are those of the official checkpoint, its spelling included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arsbench.manipulators.networks.stylegan2 import EqualLinear, PixelNorm

LAYERS = 4


class Mapper(nn.Module):
    """``[B, n, style]`` -> the same shape. PixelNorm works over dimension 1, here the rows, as the official code's."""

    def __init__(self, style: int) -> None:
        super().__init__()
        layers = (EqualLinear(style, style, lr_mul=0.01, activation=True) for _ in range(LAYERS))
        self.mapping = nn.Sequential(PixelNorm(), *layers)

    def forward(self, codes: Tensor) -> Tensor:
        out: Tensor = self.mapping(codes)
        return out


class LevelsMapper(nn.Module):
    """Codes ``[B, n, style]`` -> delta, same shape: one mapper for each level of rows, zeros where a level has none.

    Args:
        style: numbers per code.
        rows: the first medium and the first fine row.
        coarse: whether there is a mapper for the coarse rows; so for ``medium`` and ``fine``.
    """

    def __init__(
        self,
        style: int = 512,
        rows: tuple[int, int] = (4, 8),
        coarse: bool = True,
        medium: bool = True,
        fine: bool = True,
    ) -> None:
        super().__init__()
        self.rows = rows
        self.course_mapping = Mapper(style) if coarse else None
        self.medium_mapping = Mapper(style) if medium else None
        self.fine_mapping = Mapper(style) if fine else None

    def forward(self, codes: Tensor) -> Tensor:
        levels = codes.tensor_split(self.rows, dim=1)
        mappers = (self.course_mapping, self.medium_mapping, self.fine_mapping)
        return torch.cat(
            [torch.zeros_like(c) if m is None else m(c) for m, c in zip(mappers, levels, strict=True)], dim=1
        )
