"""unrecovered: what a levels tool cannot restore."""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.contracts import Metric, Pair

UNRECOVERED_THRESHOLD = 0.25


def unrecovered_share(y: Tensor, y_p: Tensor) -> Tensor:
    """What a levels tool cannot restore: min over per-channel a >= 0, b of sum (y - a y_p - b)^2 / sum (y - mean y)^2.

    Both sums run over all channels. The least squares have a closed form: with S the centred sums of a channel, the
    residual is S_yy - S_yp^2 / S_pp where S_yp > 0, and S_yy (a = 0) elsewhere. A constant y is 0/0; it is 0, because
    the levels tool restores it from anything (a = 0, b = y).

    Returns:
        float64 ``[B]`` in [0, 1]: 0 for y_p = a y + b, 1 for a blank y_p.
    """
    y, y_p = y.flatten(2).double(), y_p.flatten(2).double()
    y, y_p = y - y.mean(2, keepdim=True), y_p - y_p.mean(2, keepdim=True)
    s_yy, s_pp, s_yp = y.square().sum(2), y_p.square().sum(2), (y * y_p).sum(2)
    explained = torch.where(s_pp > 0, s_yp.clamp(min=0).square() / s_pp.clamp(min=torch.finfo(s_pp.dtype).tiny), 0)
    total = s_yy.sum(1)
    share = (s_yy - explained).sum(1) / total.clamp(min=torch.finfo(total.dtype).tiny)
    return torch.where(total > 0, share.clamp(0, 1), 0)


def unrecovered(pair: Pair) -> Tensor:
    """:func:`unrecovered_share` of the outputs."""
    return unrecovered_share(pair.y, pair.y_p)


class Unrecovered(Metric):
    """The share of the manipulation that no levels tool restores."""

    name = "unrecovered"
    definition = "min over per-channel a >= 0, b of sum (y - a y_p - b)^2 / sum (y - mean y)^2"
    higher_is_better = True
    range = (0.0, 1.0)

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]``."""
        return pair.once(unrecovered)
