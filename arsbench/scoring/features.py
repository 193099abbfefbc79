"""What the metrics share that see a picture through features: LPIPS and SSIM."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from arsbench.contracts import Metric, Pair

Features = list[Tensor]


class FeatureMetric(Metric):
    """A metric that sees each picture through features, which can be computed once and compared with many."""

    @abstractmethod
    def features(self, x: Tensor) -> Features | None:
        """The features of ``x`` ``[B, 3, H, W]``, or ``None`` where the metric is not defined for its size."""

    @abstractmethod
    def compare(self, a: Features, b: Features) -> Tensor:
        """The metric of two pictures from their features, float64 ``[B]``."""

    def measure(self, pair: Pair) -> Tensor | None:
        """The metric of y and y_p, or ``None`` where it is not defined for their size."""
        a, b = self.features(pair.y), self.features(pair.y_p)
        return None if a is None or b is None else self.compare(a, b)
