"""The generator of synthetic faces: people who consented to nothing because they do not exist.

The network is the generator of the DCGAN of PyPI's ``gan-face-generate`` 1.1.1 (MIT, see THIRD_PARTY.md), trained on
DigiFace-1M: z of 100 numbers -> a 64 x 64 face (Radford et al. 2016, architecture guidelines of section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from arsbench.shipped import FOLDER
from arsbench.weights import load_weights

Z_SIZE = 100
COLLAGE_LAYERS = 6
"""Layers up to the 8 x 8 features."""
COLLAGE_MIDDLE, COLLAGE_RADII, COLLAGE_SOFTNESS = (0.55, 0.5), (0.36, 0.3), 0.08
"""Of the ellipse: middle and radii along height and width, in heights and widths, and softness of its edge in radii."""


class FaceGenerator(nn.Module):
    """z ``[B, 100]`` -> faces ``[B, 3, 64, 64]`` in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        widths = (Z_SIZE, 512, 256, 128, 64)
        layers: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            stride, padding = (1, 0) if i == 0 else (2, 1)
            layers += [
                nn.ConvTranspose2d(n_in, n_out, 4, stride, padding, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(),
            ]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """One face per z."""
        out: Tensor = self.main(z[:, :, None, None])
        return out

    def collage(self, outer: Tensor, inner: Tensor) -> Tensor:
        """Faces with other faces' features in the middle (Suzuki et al. 2018, internal representation collaging).

        Args:
            outer: z of hair, outline and background ``[B, 100]``.
            inner: z whose 8 x 8 features stand inside a soft ellipse around the middle of the face ``[B, 100]``.

        Returns:
            ``[B, 3, 64, 64]`` in [-1, 1], differentiable in both.
        """
        early, late = self.main[:COLLAGE_LAYERS], self.main[COLLAGE_LAYERS:]
        around, face = (early(z[:, :, None, None]) for z in (outer, inner))
        rows, columns = ((torch.arange(side) + 0.5) / side for side in face.shape[2:])
        (middle_y, middle_x), (radius_y, radius_x) = COLLAGE_MIDDLE, COLLAGE_RADII
        far = ((rows[:, None] - middle_y) / radius_y).square() + ((columns - middle_x) / radius_x).square()
        inside = torch.sigmoid((1 - far.sqrt()) / COLLAGE_SOFTNESS).to(face.dtype)
        pictures: Tensor = late(around + (face - around) * inside)
        return pictures


def load_face_generator() -> FaceGenerator:
    """The generator with its shipped weights, in eval mode on the CPU."""
    tensors, _ = load_weights(FOLDER, "face_generator")
    net = FaceGenerator()
    net.load_state_dict(tensors)
    return net.eval().requires_grad_(False)


def latents(seeds: Sequence[int]) -> Tensor:
    """The z of each face seed, ``[B, 100]``, standard normal, each from a generator of its own."""
    return torch.stack([torch.randn(Z_SIZE, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
