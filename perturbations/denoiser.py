"""A learned removal: a small network that was taught to give back the face that was protected."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from arsbench.perturbations.removal import Removal
from arsbench.weights import load_weights

WEIGHTS = Path(__file__).parent / "weights"
STEM = "denoiser"
CHANNELS = 32
DILATIONS = (1, 2, 4, 2, 1)


class DenoisingNet(nn.Module):
    """Residual network of dilated 3 x 3 convolutions: ``[B, 3, H, W]`` in [-1, 1] -> the same without the noise."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU()]
        for dilation in DILATIONS:
            layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(CHANNELS, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """x without the noise."""
        cleaned: Tensor = x + self.layers(x)
        return cleaned


class Denoiser(Removal):
    """What the paper's adversarial net q stands for, trained on pictures of many protectors against all manipulators.

    Raises:
        ArsbenchError: the weights are missing or damaged.
    """

    name = "denoiser"
    training: ClassVar[str] = "arsbench.perturbations.training.denoiser:train"
    thread_safe: ClassVar[bool] = True

    def __init__(self) -> None:
        tensors, self.weights_sha256 = load_weights(WEIGHTS, STEM)
        with torch.device("meta"):  # draws no weights
            self.network = DenoisingNet()
        self.network.load_state_dict(tensors, assign=True)
        self.network.requires_grad_(False).eval()

    def remove(self, x: Tensor) -> Tensor:
        """``x`` [B, 3, H, W] in [-1, 1] -> cleaned; differentiable."""
        network = self.network.to(x.device)
        # One by one, because a convolution rounds differently in another batch.
        return torch.cat([network(x[i : i + 1].contiguous()) for i in range(len(x))]).clamp(-1, 1)
