"""Every metric of the protocol, one file each; all take pictures clamped to [-1, 1] and sum in float64.

So the strict thresholds see the number itself; :class:`arsbench.scoring.scorer.Scorer` hands out float32. No value
depends on the rest of the batch.
"""

from __future__ import annotations

import torch

from arsbench.contracts import Metric
from arsbench.scoring.amplification import Amplification
from arsbench.scoring.identity import IdentityCosine, IdentityDistance
from arsbench.scoring.lpips import Lpips
from arsbench.scoring.mse import MeanSquaredError
from arsbench.scoring.psnr import PeakSignalToNoise
from arsbench.scoring.sr import SuccessRate
from arsbench.scoring.sr_mask import MaskedSuccessRate, MaskedSuccessRateICML2026
from arsbench.scoring.sr_strict import StrictSuccessRate
from arsbench.scoring.ssim import StructuralSimilarity
from arsbench.scoring.unrecovered import Unrecovered

Kinds = tuple[type[Metric], ...]
PUBLISHED: Kinds = (
    MeanSquaredError,
    PeakSignalToNoise,
    Lpips,
    StructuralSimilarity,
    SuccessRate,
    MaskedSuccessRate,
)
"""The paper's six."""
OWN: Kinds = (Amplification, Unrecovered, StrictSuccessRate)
IDENTITY: Kinds = (IdentityCosine, IdentityDistance)
METRICS: Kinds = (*PUBLISHED, MaskedSuccessRateICML2026, *OWN, *IDENTITY)
"""In the order in which the protocol lists them."""


def all_metrics(device: str | torch.device = "cpu") -> list[Metric]:
    """One object of every metric, those with a network computing on ``device``."""
    return [Lpips(device) if metric is Lpips else metric() for metric in METRICS]
