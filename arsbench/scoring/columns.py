"""The columns that say how good a protection is: the metrics, and what is measured beside them."""

from __future__ import annotations

from arsbench.contracts import Metric
from arsbench.labels import Column
from arsbench.scoring.metrics import IDENTITY, OWN, PUBLISHED
from arsbench.scoring.scorer import CLEAN_REFERENCE
from arsbench.scoring.sr_mask import MaskedSuccessRateICML2026


def _of(metric: type[Metric], suffix: str = "", remark: str = "") -> Column:
    return Column(metric.name + suffix, "float64", metric.definition + remark, metric.higher_is_better)


SCORES = tuple(_of(metric) for metric in (*PUBLISHED, *OWN))
IMPERCEPTIBILITY = (
    Column("protected_mse", "float64", "mse of x_p against x on [-1, 1]", False),
    Column("protected_psnr", "float64", "psnr of x_p against x, dB", True),
    Column("protected_ssim", "float64", "ssim of x_p against x", True),
    Column("protected_lpips", "float64", "lpips of x_p against x", False),
    Column("protected_linf", "float64", "largest change of a value, delivered, [-1, 1] units", False),
    Column("protected_l2", "float64", "Euclidean norm of the change, [-1, 1] units", False),
)
MEASURED = (
    *SCORES,
    _of(MaskedSuccessRateICML2026),
    *(_of(metric, CLEAN_REFERENCE, "; y = G(x), without perturbation") for metric in (*PUBLISHED, *OWN)),
    *IMPERCEPTIBILITY,
    *(_of(metric, remark="; NaN unless asked for") for metric in IDENTITY),
    Column("seconds", "float64", "seconds per image of protecting", False),
)
"""Every column of numbers, in the order of the rows."""
