"""unrecovered: what a levels tool cannot restore."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from arsbench.contracts import Metric, Pair

UNRECOVERED_THRESHOLD = 0.25


class Centred(NamedTuple):
    """A picture less its channels' means, float64 ``[B, C, H W]``, and the sums of its squares ``[B, C]``."""

    values: Tensor
    squares: Tensor


def centred(picture: Tensor) -> Centred:
    """``picture`` [B, C, H, W] less its channels' means."""
    values = picture.flatten(2).to(torch.float64, copy=True)
    values -= values.mean(2, keepdim=True)
    return Centred(values, torch.linalg.vector_norm(values, dim=2).square())


def unrecovered_share(y: Tensor, y_p: Tensor) -> Tensor:
    """What a levels tool cannot restore: min over per-channel a >= 0, b of sum (y - a y_p - b)^2 / sum (y - mean y)^2.

    Both sums run over all channels. The least squares have a closed form: with S the centred sums of a channel, the
    residual is S_yy - S_yp^2 / S_pp where S_yp > 0, and S_yy (a = 0) elsewhere. A constant y is 0/0; it is 0, because
    the levels tool restores it from anything (a = 0, b = y).

    Returns:
        float64 ``[B]`` in [0, 1]: 0 for y_p = a y + b, 1 for a blank y_p.
    """
    return _share(centred(y), centred(y_p))


def _share(y: Centred, y_p: Centred) -> Tensor:
    s_yy, s_pp, s_yp = y.squares, y_p.squares, (y.values * y_p.values).sum(2)
    explained = torch.where(s_pp > 0, s_yp.clamp(min=0).square() / s_pp.clamp(min=torch.finfo(s_pp.dtype).tiny), 0)
    total = s_yy.sum(1)
    share = (s_yy - explained).sum(1) / total.clamp(min=torch.finfo(total.dtype).tiny)
    return torch.where(total > 0, share.clamp(0, 1), 0)


def unrecovered(pair: Pair) -> Tensor:
    """:func:`unrecovered_share` of the outputs."""
    return _share(pair.of("y", centred), pair.of("y_p", centred))


class Unrecovered(Metric):
    """The share of the manipulation that no levels tool restores."""

    name = "unrecovered"
    definition = "min over per-channel a >= 0, b of sum (y - a y_p - b)^2 / sum (y - mean y)^2"
    higher_is_better = True
    range = (0.0, 1.0)

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]``."""
        return pair.once(unrecovered)
