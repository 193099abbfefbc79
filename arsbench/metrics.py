"""The protocol's metrics: per image, in batches, each a small :class:`~arsbench.contracts.Metric`.

All take pictures ``[B, 3, H, W]`` clamped to [-1, 1] and return float64 ``[B]`` with sums in float64, so that the
strict thresholds see the number itself; :func:`score` and :class:`Scorer` hand out float32. No value depends on the
rest of the batch. :class:`Scorer` computes LPIPS's features of a reference once, for all protectors.
"""

from __future__ import annotations

import functools
import warnings
from abc import abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from arsbench.contracts import ArsbenchError, Metric, Pair, load_weights
from arsbench.torchvision_cure import import_with_cure

SR_THRESHOLD = 0.05
MASK_THRESHOLD = 0.5
UNRECOVERED_THRESHOLD = 0.25
AMPLIFICATION_THRESHOLD = 1.0
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
LPIPS_SMALLEST = 31
"""AlexNet's two poolings leave nothing of a picture below 31 pixels; there, lpips is absent from the scores."""


# --- the numbers ----------------------------------------------------------------------------------------------------


def mean_squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean over C, H, W of (a - b)^2, float64 ``[B]``."""
    return (a - b).square().flatten(1).mean(1, dtype=torch.float64)


def peak_signal_to_noise(a: Tensor, b: Tensor) -> Tensor:
    """``piq.psnr`` at data range 2, -10 log10(mse / 4 + 1e-8) in dB, float64 ``[B]``: 80 dB for equal images."""
    piq: Any = import_with_cure("piq")
    values: Tensor = piq.psnr((a + 1) / 2, (b + 1) / 2, data_range=1.0, reduction="none")
    return values.double()


def masked_error(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """sum(M (a - b)^2) / (3 sum M) with M ``[B, 1, H, W]`` of 0 and 1, float64 ``[B]``; 0 for an empty mask."""
    total = ((a - b).square() * mask).flatten(1).sum(1, dtype=torch.float64)
    return total / (3 * mask.flatten(1).sum(1, dtype=torch.float64)).clamp(min=1)


def changed_mask(a: Tensor, b: Tensor) -> Tensor:
    """Where the sum over RGB of abs(a - b) exceeds 0.5, ``[B, 1, H, W]`` (Huang et al. 2022, CMUA-Watermark)."""
    return ((a - b).abs().sum(1, keepdim=True) > MASK_THRESHOLD).to(a.dtype)


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


@dataclass(frozen=True)
class ComparedPair(Pair):
    """A pair that computes once what several metrics ask for."""

    @functools.cached_property
    def mse(self) -> Tensor:
        """Of the outputs, float64 ``[B]``."""
        return mean_squared_error(self.y, self.y_p)

    @functools.cached_property
    def unrecovered(self) -> Tensor:
        """See :func:`unrecovered_share`."""
        return unrecovered_share(self.y, self.y_p)

    @functools.cached_property
    def amplification(self) -> Tensor | None:
        """mse of the outputs over that of the inputs, float64 ``[B]``, NaN for 0/0; ``None`` without the inputs."""
        before = self.x if self.px is None else self.px
        after = self.x_p if self.px_p is None else self.px_p
        return None if before is None or after is None else self.mse / mean_squared_error(before, after)


def compared(pair: Pair) -> ComparedPair:
    """The pair as one that keeps what is computed of it."""
    if isinstance(pair, ComparedPair):
        return pair
    return ComparedPair(**{f.name: getattr(pair, f.name) for f in fields(pair)})


# --- metrics that compare features ----------------------------------------------------------------------------------

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


class StructuralSimilarity(FeatureMetric):
    """ssim (Wang et al. 2004): ``piq.ssim`` on (x + 1) / 2, data range 1, window 11, sigma 1.5, valid border."""

    name: ClassVar[str] = "ssim"

    def features(self, x: Tensor) -> Features:
        """The picture in [0, 1].

        Raises:
            ArsbenchError: a side is shorter than the window.
        """
        height, width = x.shape[-2:]
        if min(height, width) < SSIM_WINDOW:
            raise ArsbenchError(
                f"SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, these have {height} x {width}; "
                "use larger ones"
            )
        return [(x + 1) / 2]

    def compare(self, a: Features, b: Features) -> Tensor:
        """SSIM, at most 1, float64 ``[B]``."""
        piq: Any = import_with_cure("piq.ssim")
        n, channels, height, width = a[0].shape
        window = piq.gaussian_filter(SSIM_WINDOW, SSIM_SIGMA, device=a[0].device, dtype=a[0].dtype)
        # What piq.ssim does, to the last bit, but with the channels of all pictures as those of one: torch filters
        # many channels twice as fast as three.
        as_one = (1, n * channels, height, width)
        values, _ = piq._ssim_per_channel(
            a[0].reshape(as_one), b[0].reshape(as_one), window.expand(n * channels, -1, -1, -1)
        )
        each: Tensor = values.view(n, channels).mean(1)
        return each.double()


@functools.lru_cache(maxsize=4)
def load_lpips(device: str | torch.device = "cpu") -> nn.Module:
    """LPIPS (Zhang et al. 2018) with AlexNet, v0.1: ``net(a, b)`` -> ``[B, 1, 1, 1]``, differentiable in both.

    ``lpips.LPIPS`` with the shipped trunk in place of torchvision's download; frozen, in eval mode, one per device.

    Raises:
        ArsbenchError: the shipped trunk is missing or damaged.
    """
    lpips: Any = import_with_cure("lpips")
    tensors, _ = load_weights(Path(__file__).parent / "shipped", "lpips_alex")
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
    """lpips: LPIPS with AlexNet, v0.1, from the pieces of the ``lpips`` package."""

    name: ClassVar[str] = "lpips"

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.net: Any = load_lpips(device)
        self.package: Any = import_with_cure("lpips")

    def features(self, x: Tensor) -> Features | None:
        """The normalised features of AlexNet's five layers; ``None`` for pictures below 31 pixels."""
        if min(x.shape[-2:]) < LPIPS_SMALLEST:
            return None
        scaled = self.net.scaling_layer(x.contiguous(memory_format=torch.channels_last))
        return [self.package.normalize_tensor(f) for f in self.net.net(scaled)]

    def compare(self, a: Features, b: Features) -> Tensor:
        """LPIPS, at least 0, float64 ``[B]``."""
        layers = [
            self.package.lpips.spatial_average(lin((f - g).square()), keepdim=False).flatten()
            for lin, f, g in zip(self.net.lins, a, b, strict=True)
        ]
        return torch.stack(layers).sum(0).double()


# --- the metrics ----------------------------------------------------------------------------------------------------


class MeanSquaredError(Metric):
    """mse: mean squared error of y_p against y; up to 4."""

    name: ClassVar[str] = "mse"

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]`` in [0, 4]."""
        return compared(pair).mse


class PeakSignalToNoise(Metric):
    """psnr of y_p against y, data range 2."""

    name: ClassVar[str] = "psnr"

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]`` in dB, at most 80."""
        return peak_signal_to_noise(pair.y, pair.y_p)


class SuccessRate(Metric):
    """sr: mse > 0.05, strictly (Ruiz et al. 2020)."""

    name: ClassVar[str] = "sr"

    def measure(self, pair: Pair) -> Tensor:
        """``[B]`` of 0 and 1."""
        return (compared(pair).mse > SR_THRESHOLD).double()


class MaskedSuccessRate(Metric):
    """sr_mask: the mse where G changed x exceeds 0.05 (Huang et al. 2022); an empty mask is no success.

    The mask is taken per image, from G(x) - x; the official script takes the first image's for the whole batch.
    """

    name: ClassVar[str] = "sr_mask"

    def measure(self, pair: Pair) -> Tensor | None:
        """``[B]`` of 0 and 1; needs x. G(x) is y_clean, or y where that is missing."""
        if pair.x is None:
            return None
        mask = changed_mask(pair.y if pair.y_clean is None else pair.y_clean, pair.x)
        return (masked_error(pair.y, pair.y_p, mask) > SR_THRESHOLD).double()


class MaskedSuccessRateICML2026(Metric):
    """sr_mask:icml2026: as sr_mask, with the mask where y_p differs from y."""

    name: ClassVar[str] = "sr_mask:icml2026"

    def measure(self, pair: Pair) -> Tensor:
        """``[B]`` of 0 and 1."""
        return (masked_error(pair.y, pair.y_p, changed_mask(pair.y_p, pair.y)) > SR_THRESHOLD).double()


class Amplification(Metric):
    """amplification: mse of the outputs over mse of the inputs; above 1 the manipulator was attacked."""

    name: ClassVar[str] = "amplification"

    def measure(self, pair: Pair) -> Tensor | None:
        """float64 ``[B]``, NaN for 0/0; needs px and px_p, or x and x_p where those are missing."""
        return compared(pair).amplification


class Unrecovered(Metric):
    """unrecovered: the share of the manipulation that no levels tool restores; see :func:`unrecovered_share`."""

    name: ClassVar[str] = "unrecovered"

    def measure(self, pair: Pair) -> Tensor:
        """float64 ``[B]`` in [0, 1]."""
        return compared(pair).unrecovered


class StrictSuccessRate(Metric):
    """sr_strict: sr, and unrecovered > 0.25, and amplification > 1, all strictly."""

    name: ClassVar[str] = "sr_strict"

    def measure(self, pair: Pair) -> Tensor | None:
        """``[B]`` of 0 and 1; needs what amplification needs, whose NaN is no success."""
        pair = compared(pair)
        if pair.amplification is None:
            return None
        success = pair.mse > SR_THRESHOLD
        strict = (pair.unrecovered > UNRECOVERED_THRESHOLD) & (pair.amplification > AMPLIFICATION_THRESHOLD)
        return (success & strict).double()


PLAIN_METRICS: tuple[type[Metric], ...] = (
    MeanSquaredError,
    PeakSignalToNoise,
    SuccessRate,
    MaskedSuccessRate,
    Amplification,
    Unrecovered,
    StrictSuccessRate,
    MaskedSuccessRateICML2026,
)
"""The metrics that compare pictures directly; the others are ssim and lpips."""
CLEAN_REFERENCE = "_clean_reference"


def _feature_metrics(device: str | torch.device) -> list[FeatureMetric]:
    return [StructuralSimilarity(), Lpips(device)]


def all_metrics(device: str | torch.device = "cpu") -> list[Metric]:
    """Every metric of the protocol, those with a network computing on ``device``."""
    return [*(metric() for metric in PLAIN_METRICS), *_feature_metrics(device)]


# --- scoring a batch ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """A picture that many are compared with.

    Attributes:
        y: ``[B, 3, H, W]`` clamped to [-1, 1].
        features: its features by metric; a metric that is not defined for its size is absent.
    """

    y: Tensor
    features: dict[str, Features]


class Recogniser:
    """Whether the forger got the person: y_p's face descriptor beside that of the face the forger aims at.

    Args:
        network: faces ``[B, 3, H, W]`` in [-1, 1] -> descriptors ``[B, D]``.
    """

    columns = ("identity_cosine", "identity_distance")

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @torch.no_grad()
    def describe(self, faces: Tensor) -> Tensor:
        """Descriptors, float64 ``[B, D]``."""
        described: Tensor = self.network(faces)
        return described.double()

    def compare(self, output: Tensor, aim: Tensor) -> dict[str, Tensor]:
        """Cosine and Euclidean distance of descriptors ``[B, D]``, float32 ``[B]`` each."""
        cosine = nn.functional.cosine_similarity(output, aim, dim=1)
        distance = (output - aim).norm(dim=1)
        return dict(zip(self.columns, (cosine.float(), distance.float()), strict=True))


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
        self.by_features = _feature_metrics(self.device)
        self.plain = [metric() for metric in PLAIN_METRICS]

    @torch.no_grad()
    def reference(self, y: Tensor) -> Reference:
        """Clamps ``y`` and computes its features, to be shared by all that is compared with it."""
        y = y.detach().clamp(-1, 1)
        features = {metric.name: metric.features(y) for metric in self.by_features}
        return Reference(y, {name: f for name, f in features.items() if f is not None})

    @torch.no_grad()
    def score(
        self, pair: Pair, reference: Reference | None = None, clean: Reference | None = None
    ) -> dict[str, Tensor]:
        """Every metric of ``pair``; with ``clean``, also the ``*_clean_reference`` columns.

        Args:
            pair: the batch; its pictures are clamped to [-1, 1] here.
            reference: :meth:`reference` of ``pair.y``, if at hand.
            clean: :meth:`reference` of G(x). The second set of columns compares y_p with it and, for amplification,
                p(x_p) with x, the inputs that belong to the two outputs.

        Returns:
            float32 ``[B]`` by column name; a metric whose inputs are missing is absent.

        Raises:
            ArsbenchError: y_p or y holds NaN, shapes differ, or pictures are below 11 pixels.
        """
        pair = clamped(pair)
        check(pair)
        reference, output = reference or self.reference(pair.y), self.reference(pair.y_p)
        scores = self._columns(pair, reference, output)
        if clean is not None:
            after = pair.x_p if pair.px_p is None else pair.px_p
            against = ComparedPair(clean.y, pair.y_p, pair.x, pair.x_p, clean.y, pair.x, after)
            columns = self._columns(against, clean, output)
            del columns[MaskedSuccessRateICML2026.name]
            scores |= {f"{name}{CLEAN_REFERENCE}": values for name, values in columns.items()}
        return scores

    def clean_reference_scores(self, pair: Pair, clean: Reference) -> dict[str, Tensor]:
        """The ``*_clean_reference`` columns alone; :meth:`score` gives both from one pass over y_p."""
        return {k: values for k, values in self.score(pair, None, clean).items() if k.endswith(CLEAN_REFERENCE)}

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

    def _columns(self, pair: Pair, reference: Reference, output: Reference) -> dict[str, Tensor]:
        measured = {metric.name: metric.measure(pair) for metric in self.plain} | self._compared(reference, output)
        return {name: values.float() for name, values in measured.items() if values is not None}


def clamped(pair: Pair) -> ComparedPair:
    """The pair with every picture detached and clamped to [-1, 1]."""
    given = {f.name: getattr(pair, f.name) for f in fields(pair) if getattr(pair, f.name) is not None}
    return ComparedPair(**{name: picture.detach().clamp(-1, 1) for name, picture in given.items()})


def check(pair: Pair) -> None:
    """Refuses pictures that no metric is defined for.

    Raises:
        ArsbenchError: a picture is not ``[B, 3, H, W]`` like y, or y or y_p holds NaN.
    """
    for field in fields(pair):
        picture = getattr(pair, field.name)
        if picture is not None and (picture.shape != pair.y.shape or picture.dim() != 4 or picture.shape[1] != 3):
            raise ArsbenchError(
                f"{field.name} has shape {list(picture.shape)} and y {list(pair.y.shape)}; "
                "all must be the same [B, 3, H, W]"
            )
    for name, picture in (("y", pair.y), ("y_p", pair.y_p)):
        if bool(picture.isnan().any()):
            raise ArsbenchError(f"{name} holds NaN; the manipulator gave no picture for its input")


def score(
    y: Tensor,
    y_p: Tensor,
    x: Tensor | None = None,
    x_p: Tensor | None = None,
    y_clean: Tensor | None = None,
    px: Tensor | None = None,
    px_p: Tensor | None = None,
) -> dict[str, Tensor]:
    """Every metric of the protocol that the given pictures allow, per image.

    Args:
        y: the reference G(p(x)), ``[B, 3, H, W]``; outputs are clamped to [-1, 1] here.
        y_p: the protected output G(p(x_p)).
        x: the source face; for ``sr_mask``, and for ``amplification`` where ``px`` is missing.
        x_p: the protected face, delivered; for ``amplification`` where ``px_p`` is missing.
        y_clean: G(x), for the mask of ``sr_mask``; ``y`` where missing.
        px: p(x), delivered.
        px_p: p(x_p), delivered.

    Returns:
        float32 ``[B]`` by name: mse, psnr, lpips, ssim, sr, sr_mask, amplification, unrecovered, sr_strict and
        ``sr_mask:icml2026``. A metric whose inputs are missing is absent; lpips is absent below 31 pixels.

    Raises:
        ArsbenchError: NaN in y or y_p, differing shapes, or pictures below 11 pixels.
    """
    return Scorer(y.device).score(Pair(y, y_p, x, x_p, y_clean, px, px_p))
