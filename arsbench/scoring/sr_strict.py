"""sr_strict: whether the protection worked; the board ranks by it."""

from __future__ import annotations

from torch import Tensor

from arsbench.contracts import Metric, Pair
from arsbench.scoring.amplification import AMPLIFICATION_THRESHOLD, amplification
from arsbench.scoring.mse import output_error
from arsbench.scoring.sr import SR_THRESHOLD
from arsbench.scoring.unrecovered import UNRECOVERED_THRESHOLD, unrecovered


class StrictSuccessRate(Metric):
    """sr, and unrecovered > 0.25, and amplification > 1, all strictly."""

    name = "sr_strict"
    definition = "sr, unrecovered > its threshold, amplification > its threshold"
    higher_is_better = True
    range = (0.0, 1.0)

    def measure(self, pair: Pair) -> Tensor | None:
        """``[B]`` of 0 and 1; needs what amplification needs, whose NaN is no success."""
        amplified = pair.once(amplification)
        if amplified is None:
            return None
        changed = pair.once(output_error) > SR_THRESHOLD
        lost = pair.once(unrecovered) > UNRECOVERED_THRESHOLD
        return (changed & lost & (amplified > AMPLIFICATION_THRESHOLD)).double()
