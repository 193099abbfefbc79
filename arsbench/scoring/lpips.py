"""lpips: perceptual distance of the outputs."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.contracts import ArsbenchError
from arsbench.scoring.features import FeatureMetric, Features
from arsbench.scoring.torchvision_cure import import_with_cure
from arsbench.shipped import FOLDER
from arsbench.weights import load_weights

LPIPS_SMALLEST = 31
"""AlexNet's two poolings leave nothing of a picture below 31 pixels; there, lpips is absent from the scores."""
TRUNK = "lpips_alex"
NORM_FLOOR = 1e-10
"""As the package adds it to the norm that features are divided by."""


def load_lpips(device: str | torch.device = "cpu") -> nn.Module:
    """LPIPS (Zhang et al. 2018) with AlexNet, v0.1: ``net(a, b)`` -> ``[B, 1, 1, 1]``, differentiable in both.

    ``lpips.LPIPS`` with the shipped trunk in place of torchvision's download; frozen, in eval mode, one per device.

    Raises:
        ArsbenchError: the shipped trunk is missing or damaged.
    """
    return _load(torch.device(device))


@functools.lru_cache(maxsize=4)
def _load(device: torch.device) -> nn.Module:
    lpips: Any = import_with_cure("lpips")
    tensors, _ = load_weights(FOLDER, TRUNK)
    # The constructor draws random weights, which the trunk then replaces, and torchvision warns of its own arguments.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net: nn.Module = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    missing, unexpected = net.load_state_dict(tensors, strict=False)
    if unexpected or any(name.startswith("net.") for name in missing):
        raise ArsbenchError("the shipped LPIPS trunk does not fit the installed lpips package; install lpips 0.1.4")
    # channels_last takes a fifth less time on a CPU.
    net.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


class Lpips(FeatureMetric):
    """LPIPS with AlexNet, v0.1, from the pieces of the ``lpips`` package."""

    name = "lpips"
    definition = "AlexNet, v0.1 linear layers, input [-1, 1]"
    higher_is_better = True
    range = (0.0, math.inf)

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.net: Any = load_lpips(device)

    def features(self, x: Tensor) -> Features | None:
        """The normalised features of AlexNet's five layers, ``[B, H W C]`` each, times the root of what one of their
        squared differences weighs in the distance; ``None`` for pictures below 31 pixels."""
        if min(x.shape[-2:]) < LPIPS_SMALLEST:
            return None
        scaled = self.net.scaling_layer(x).contiguous(memory_format=torch.channels_last)
        layers = zip(self.net.net(scaled), self.net.lins, strict=True)
        return [self._weighted(f, lin) for f, lin in layers]

    def compare(self, a: Features, b: Features) -> Tensor:
        """LPIPS, at least 0, float64 ``[B]``."""
        layers = [torch.linalg.vector_norm(f - g, dim=1).square() for f, g in zip(a, b, strict=True)]
        return torch.stack(layers).sum(0).double()

    @staticmethod
    def _weighted(f: Tensor, lin: Any) -> Tensor:
        # The package's layer weighs each channel's squared difference and averages over the places. No weight is
        # below 0, so that half of it can be done once for a picture, in place of once for each it is compared with.
        weight: Tensor = lin.model[-1].weight / math.prod(f.shape[2:])
        norm = torch.linalg.vector_norm(f, dim=1, keepdim=True).add_(NORM_FLOOR)
        return f.div_(norm).mul_(weight.sqrt()).permute(0, 2, 3, 1).flatten(1)
