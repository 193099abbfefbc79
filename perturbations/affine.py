"""What movements of a picture share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def moved(x: Tensor, matrix: list[list[float]]) -> Tensor:
    """``x`` [B, 3, H, W] read at matrix @ (column, row, 1), bilinear, its border repeated; both run from -1 to 1."""
    theta = torch.tensor(matrix, dtype=x.dtype, device=x.device).expand(len(x), 2, 3)
    grid = affine_grid(theta, list(x.shape), align_corners=False)
    # Contiguous, because another memory layout takes another kernel, which rounds differently.
    return grid_sample(x.contiguous(), grid, mode="bilinear", padding_mode="border", align_corners=False)
