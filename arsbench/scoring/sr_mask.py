"""sr_mask: whether the output changed where the manipulator had changed the face; and a published variant."""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.contracts import Metric, Pair
from arsbench.scoring.mse import difference, pixel_error
from arsbench.scoring.sr import SR_THRESHOLD

MASK_THRESHOLD = 0.5


def masked_error(pair: Pair, mask: Tensor) -> Tensor:
    """sum(M (y - y_p)^2) / (3 sum M) with M ``[B, 1, H, W]`` of 0 and 1, float64 ``[B]``; 0 for an empty mask."""
    total = (pair.once(pixel_error) * mask.squeeze(1)).flatten(1).sum(1, dtype=torch.float64)
    return total / (3 * mask.flatten(1).sum(1, dtype=torch.float64)).clamp(min=1)


def changed_mask(change: Tensor) -> Tensor:
    """Where the sum over RGB of abs(change) exceeds 0.5, ``[B, 1, H, W]`` (Huang et al. 2022, CMUA-Watermark)."""
    red, green, blue = change.abs().unbind(1)  # sums over a dimension that is not the last are slow
    return (red + green + blue > MASK_THRESHOLD).to(change.dtype)[:, None]


class MaskedSuccessRate(Metric):
    """The mse where G changed x exceeds 0.05 (Huang et al. 2022); an empty mask is no success.

    The mask is taken per image, from G(x) - x; the official script takes the first image's for the whole batch.
    """

    name = "sr_mask"
    definition = "mask: sum over RGB of abs(G(x) - x) > mask threshold, per image; its mean error > sr threshold"
    higher_is_better = True
    range = (0.0, 1.0)

    def measure(self, pair: Pair) -> Tensor | None:
        """``[B]`` of 0 and 1; needs x. G(x) is y_clean, or y where that is missing."""
        if pair.x is None:
            return None
        name = "y" if pair.y_clean is None else "y_clean"
        known = pair.known.setdefault(name, {})
        x, mask = known.get(changed_mask, (None, None))
        if x is not pair.x:
            mask = changed_mask(getattr(pair, name) - pair.x)
            known[changed_mask] = pair.x, mask
        return (masked_error(pair, mask) > SR_THRESHOLD).double()


class MaskedSuccessRateICML2026(Metric):
    """sr_mask with the mask where y_p differs from y."""

    name = "sr_mask:icml2026"
    definition = "as sr_mask, mask from abs(y_p - y)"
    higher_is_better = True
    range = (0.0, 1.0)

    def measure(self, pair: Pair) -> Tensor:
        """``[B]`` of 0 and 1."""
        return (masked_error(pair, changed_mask(pair.once(difference))) > SR_THRESHOLD).double()
