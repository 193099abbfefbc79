"""Scores a batch: every metric of the protocol, with what a reference needs computed once for all protectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from arsbench.contracts import ArsbenchError, Metric, Pair
from arsbench.scoring.features import FeatureMetric, Features
from arsbench.scoring.metrics import all_metrics
from arsbench.scoring.mse import mean_squared_error
from arsbench.scoring.psnr import peak_signal_to_noise
from arsbench.scoring.sr_mask import MaskedSuccessRateICML2026

CLEAN_REFERENCE = "_clean_reference"
"""Ends the columns that compare with y = G(x), without perturbation."""


@dataclass(frozen=True)
class Reference:
    """A picture that many are compared with.

    Attributes:
        y: ``[B, 3, H, W]`` clamped to [-1, 1].
        features: its features by metric; a metric that is not defined for its size is absent.
        known: what else was computed of it, see :meth:`arsbench.contracts.Pair.of`.
    """

    y: Tensor
    features: dict[str, Features]
    known: dict[object, Any] = field(default_factory=dict)


class Scorer:
    """Computes every metric of the protocol for batches; holds the LPIPS network.

    Typical use, once per manipulator, perturbation and level, then once per protector::

        reference, clean = scorer.reference(y), scorer.reference(y_clean)
        scores = scorer.score(Pair(y, y_p, x, x_p, y_clean, px, px_p), reference, clean)

    Args:
        device: where the LPIPS network computes; pictures are expected there.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        metrics = all_metrics(self.device)
        self.by_features = [metric for metric in metrics if isinstance(metric, FeatureMetric)]
        self.plain = [metric for metric in metrics if not isinstance(metric, FeatureMetric)]
        self.against_clean = [metric for metric in self.plain if not isinstance(metric, MaskedSuccessRateICML2026)]

    @torch.no_grad()
    def reference(self, y: Tensor) -> Reference:
        """Clamps ``y`` and computes its features, to be shared by all that is compared with it."""
        y = y.detach().clamp(-1, 1)
        features = {metric.name: metric.features(y) for metric in self.by_features}
        return Reference(y, {name: f for name, f in features.items() if f is not None})

    @torch.no_grad()
    def score(
        self,
        pair: Pair,
        reference: Reference | None = None,
        clean: Reference | None = None,
        output: Reference | None = None,
        in_range: bool = False,
    ) -> dict[str, Tensor]:
        """Every metric of ``pair``; with ``clean``, also the ``*_clean_reference`` columns.

        Args:
            pair: the batch; its pictures are clamped to [-1, 1] here.
            reference: :meth:`reference` of ``pair.y``, if at hand.
            clean: :meth:`reference` of G(x). The second set of columns compares y_p with it and, for amplification,
                p(x_p) with x, the inputs that belong to the two outputs.
            output: :meth:`reference` of ``pair.y_p``, if at hand.
            in_range: True promises that every picture is in [-1, 1] as it is; they are then not clamped again.

        Returns:
            float32 ``[B]`` by column name; a metric whose inputs are missing is absent.

        Raises:
            ArsbenchError: y_p or y holds NaN, shapes differ, or pictures are below 11 pixels.
        """
        unperturbed = pair.px is None or pair.px is pair.x
        pair = pair if in_range else clamped(pair)
        check(pair)
        reference, output = reference or self.reference(pair.y), output or self.reference(pair.y_p)
        shared = {"y_p": output.known, "y_clean": {} if clean is None else clean.known}
        pair.known.update(shared, y=reference.known)
        scores = self._columns(self.plain, pair, reference, output)
        if clean is not None:
            after = pair.x_p if pair.px_p is None else pair.px_p
            against = Pair(clean.y, pair.y_p, pair.x, pair.x_p, clean.y, pair.x, after)
            against.known.update(shared, y=clean.known)
            if clean is reference and unperturbed:
                columns = {name: scores[name] for name in scores if name != MaskedSuccessRateICML2026.name}
            else:
                columns = self._columns(self.against_clean, against, clean, output)
            scores |= {f"{name}{CLEAN_REFERENCE}": values for name, values in columns.items()}
        return scores

    @torch.no_grad()
    def imperceptibility(self, x: Tensor, x_p: Tensor, reference: Reference | None = None) -> dict[str, Tensor]:
        """How visible the protection is: ``protected_mse, _psnr, _ssim, _lpips, _linf, _l2``.

        Args:
            x: source faces ``[B, 3, H, W]`` in [-1, 1].
            x_p: protected faces, delivered.
            reference: :meth:`reference` of ``x``, if at hand.

        Returns:
            float32 ``[B]`` by column name; ``protected_lpips`` is absent below 31 pixels.
        """
        before, after = reference or self.reference(x), self.reference(x_p)
        change = (after.y - before.y).flatten(1).double()
        columns = {
            "mse": mean_squared_error(before.y, after.y),
            "psnr": peak_signal_to_noise(before.y, after.y),
            "linf": change.abs().amax(1),
            "l2": change.square().sum(1).sqrt(),
            **self._compared(before, after),
        }
        return {f"protected_{name}": values.float() for name, values in columns.items()}

    def _compared(self, a: Reference, b: Reference) -> dict[str, Tensor]:
        both = (metric for metric in self.by_features if metric.name in a.features and metric.name in b.features)
        return {metric.name: metric.compare(a.features[metric.name], b.features[metric.name]) for metric in both}

    def _columns(
        self, metrics: Sequence[Metric], pair: Pair, reference: Reference, output: Reference
    ) -> dict[str, Tensor]:
        measured = {metric.name: metric.measure(pair) for metric in metrics} | self._compared(reference, output)
        return {name: values.float() for name, values in measured.items() if values is not None}


def clamped(pair: Pair) -> Pair:
    """The pair with every picture detached and clamped to [-1, 1]."""
    pictures: dict[str, Any] = {name: picture.detach().clamp(-1, 1) for name, picture in pair.pictures().items()}
    return Pair(**pictures, seen=pair.seen, aim=pair.aim)


def check(pair: Pair) -> None:
    """Refuses pictures that no metric is defined for.

    Raises:
        ArsbenchError: a picture is not ``[B, 3, H, W]`` like y, or y or y_p holds NaN.
    """
    for name, picture in pair.pictures().items():
        if picture.shape != pair.y.shape or picture.dim() != 4 or picture.shape[1] != 3:
            raise ArsbenchError(
                f"{name} has shape {list(picture.shape)} and y {list(pair.y.shape)}; all must be the same [B, 3, H, W]"
            )
    for name, picture in (("y", pair.y), ("y_p", pair.y_p)):
        if bool(picture.sum().isnan()):
            raise ArsbenchError(f"{name} holds NaN; the manipulator gave no picture for its input")
