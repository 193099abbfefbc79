"""sr: whether the output changed."""

from __future__ import annotations

from torch import Tensor

from arsbench.contracts import Metric, Pair
from arsbench.scoring.mse import output_error

SR_THRESHOLD = 0.05


class SuccessRate(Metric):
    """mse > 0.05, strictly (Ruiz et al. 2020)."""

    name = "sr"
    definition = "mse > sr threshold"
    higher_is_better = True
    range = (0.0, 1.0)

    def measure(self, pair: Pair) -> Tensor:
        """``[B]`` of 0 and 1."""
        return (pair.once(output_error) > SR_THRESHOLD).double()
