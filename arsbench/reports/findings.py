"""The paper's findings, each put to a run as differences with intervals: holds, does not hold, or cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from arsbench.reports.selection import perturbation_label, trained_on
from arsbench.reports.tables.pieces import LABELS
from arsbench.running.speed import Speed
from arsbench.scoring import statistics

HOLDS, DOES_NOT, UNTOLD = "holds", "does not hold", "cannot be told"
BASELINES = ("fgsm", "pgd", "disrupt", "tafim")
FIVE = (*BASELINES, "ars")
ONE_PASS = ("tafim", "ars")
MODEL = "psp-mix"
EPSILON = 0.3
LEVEL = 5


@dataclass(frozen=True)
class Finding:
    """What became of one of the paper's findings.

    Attributes:
        claim: the finding.
        verdict: ``holds`` where every difference that it claims is there, beyond chance; ``does not hold`` where one of
            them is the other way round, beyond chance; else ``cannot be told``.
        numbers: the differences with their 95 % intervals.
        reason: why it cannot be told, where nothing was compared.
    """

    claim: str
    verdict: str
    numbers: list[str] = field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True)
class _Difference:
    """One difference that a finding claims to be positive, with the ends of its interval."""

    words: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.words} {self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def findings(rows: pd.DataFrame, speeds: Sequence[Speed] = ()) -> list[Finding]:
    """Every finding of the paper, put to these rows; against psp-mix at epsilon 0.3, where nothing else is said."""
    direct = rows[trained_on(rows) == ""]
    budget = direct[direct["epsilon"] == EPSILON]
    strongest = budget[(budget["manipulator"] == MODEL) & (budget["level"] == LEVEL)]
    return [
        _leads("ARS leads SR and SR_mask at level 5", strongest, {"sr": 1, "sr_mask": 1}),
        _leads("ARS leads LPIPS and PSNR at level 5", strongest, {"lpips": 1, "psnr": -1}),
        _blur(strongest),
        _judged(
            "FGSM protects less than PGD at level 5",
            [_between(_of(strongest, "pgd"), _of(strongest, "fgsm"), "sr", "SR: pgd - fgsm")],
        ),
        _judged(
            "Disrupt is above PGD under Gaussian blur",
            [
                _between(
                    _of(strongest, "disrupt", "gaussian_blur"),
                    _of(strongest, "pgd", "gaussian_blur"),
                    "sr",
                    "SR under blur: disrupt - pgd",
                )
            ],
        ),
        _tafim(budget, strongest),
        _parts(budget),
        _transfer(rows),
        _simswap(direct),
        _fastest(direct, speeds),
    ]


# --- the claims -----------------------------------------------------------------------------------------------------


def _leads(claim: str, rows: pd.DataFrame, metrics: dict[str, int]) -> Finding:
    """ARS above every baseline; a sign of -1 where less is better."""
    differences: list[_Difference | None] = []
    for metric, sign in metrics.items():
        for other in BASELINES:
            a, b = _of(rows, "ars"), _of(rows, other)
            words = f"{LABELS[metric]}: ars - {other}" if sign > 0 else f"{LABELS[metric]}: {other} - ars"
            differences.append(_between(a, b, metric, words) if sign > 0 else _between(b, a, metric, words))
    return _judged(claim, differences)


def _blur(rows: pd.DataFrame) -> Finding:
    own = rows[rows["protector"].isin(FIVE)]
    others = sorted(set(own["perturbation"]) - {"gaussian_blur"})
    blurred = own[own["perturbation"] == "gaussian_blur"]
    differences = [
        _between(own[own["perturbation"] == kind], blurred, "sr", f"SR: {perturbation_label(kind)} - blur")
        for kind in others
    ]
    whole = set(own["protector"]) == set(FIVE)
    return _judged("Gaussian blur is the hardest perturbation", differences if whole and len(others) == 5 else [None])


def _tafim(budget: pd.DataFrame, strongest: pd.DataFrame) -> Finding:
    clean = budget[(budget["manipulator"] == MODEL) & (budget["level"] == 0)]
    words = "SR: unperturbed - level 5"
    difference = _between(_of(clean, "tafim"), _of(strongest, "tafim"), "sr", words)
    return _judged("TAFIM falls under perturbations", [difference])


def _parts(budget: pd.DataFrame) -> Finding:
    own = budget[(budget["manipulator"] == MODEL) & (budget["level"] > 0)]
    full = "ars_full" if "ars_full" in set(own["protector"]) else "ars"
    pairs = (
        ("p and q", "ars_basic_with_robust", "ars_basic"),
        ("p", "ars_without_adv", "ars_non_lossy"),
        ("q", full, "ars_without_adv"),
    )
    differences = [_between(_of(own, a), _of(own, b), "sr", f"SR, {part}: {a} - {b}") for part, a, b in pairs]
    return _judged("The perturbation module p and the adversarial net q raise SR", differences)


def _transfer(rows: pd.DataFrame) -> Finding:
    differences: list[_Difference | None] = []
    for maker, model in ((MODEL, "styleclip"), ("styleclip", MODEL)):
        own = rows[(trained_on(rows) == maker) & (rows["manipulator"] == model)]
        own = own[(own["epsilon"] == EPSILON) & (own["level"] == LEVEL)]
        for other in BASELINES:
            words = f"SR, {maker} → {model}: ars - {other}"
            differences.append(_between(_of(own, "ars"), _of(own, other), "sr", words))
    return _judged("ARS transfers between psp-mix and styleclip, better than the others", differences)


def _simswap(direct: pd.DataFrame) -> Finding:
    """The paper judges by pictures without perturbation at epsilon 0.1; where that was not run, at 0.3."""
    own = direct[(direct["level"] == 0) & direct["protector"].isin(FIVE)]
    there = own[own["manipulator"] == "simswap"]
    epsilon = 0.1 if (there["epsilon"] == 0.1).any() else EPSILON
    own = own[own["epsilon"] == epsilon]
    hardest = own[own["manipulator"] == "simswap"]
    others = [name for name in ("psp-mix", "psp-recon", "styleclip") if name in set(own["manipulator"])]
    differences = [
        _between(own[own["manipulator"] == name], hardest, "sr", f"SR, ε {epsilon:g}: {name} - simswap")
        for name in others
    ]
    whole = all(set(own[own["manipulator"] == name]["protector"]) == set(FIVE) for name in (*others, "simswap"))
    return _judged("SimSwap is the hardest to protect against", differences if whole and len(others) == 3 else [None])


def _fastest(direct: pd.DataFrame, speeds: Sequence[Speed]) -> Finding:
    claim = "The methods of one forward pass, TAFIM and ARS, are the fastest"
    differences: list[_Difference | None] = []
    times = {s.protector: s for s in speeds if s.manipulator == MODEL and s.device == "cpu"}
    own = direct[(direct["manipulator"] == MODEL) & (direct["level"] == 0)]
    for fast in ONE_PASS:
        for slow in ("fgsm", "pgd", "disrupt"):
            words = f"s/image: {slow} - {fast}"
            if fast in times and slow in times:
                a, b = times[slow], times[fast]
                low, high = a.fastest - b.slowest, a.slowest - b.fastest
                differences.append(_Difference(words, a.seconds - b.seconds, low, high))
            else:
                differences.append(_between(_of(own, slow), _of(own, fast), "seconds", words))
    return _judged(claim, differences)


# --- the verdict ----------------------------------------------------------------------------------------------------


def _of(rows: pd.DataFrame, protector: str, perturbation: str | None = None) -> pd.DataFrame:
    own = rows[rows["protector"] == protector]
    return own if perturbation is None else own[own["perturbation"] == perturbation]


def _between(a: pd.DataFrame, b: pd.DataFrame, metric: str, words: str) -> _Difference | None:
    """The mean of a less that of b over the images that both have; ``None`` where there are fewer than two."""
    means = {name: own.groupby("image")[metric].mean().dropna() for name, own in (("a", a), ("b", b))}
    common = means["a"].index.intersection(means["b"].index)
    if len(common) < 2:
        return None
    one_cell = {"manipulator": "", "perturbation": "", "level": 0, "epsilon": 0.0, "trained_on": ""}
    frames = [
        pd.DataFrame({"image": common, metric: values.loc[common].to_numpy(), "protector": name, **one_cell})
        for name, values in means.items()
    ]
    found = statistics.compare(pd.concat(frames, ignore_index=True), "a", "b", metric)
    return _Difference(words, found.difference, found.low, found.high)


def _judged(claim: str, differences: Sequence[_Difference | None]) -> Finding:
    known = [difference for difference in differences if difference is not None]
    if not known:
        return Finding(claim, UNTOLD, reason="what it compares was not run")
    numbers = [str(difference) for difference in known]
    if any(difference.high < 0 for difference in known):
        return Finding(claim, DOES_NOT, numbers)
    if len(known) == len(differences) and all(difference.low > 0 for difference in known):
        return Finding(claim, HOLDS, numbers)
    missing = len(differences) - len(known)
    return Finding(
        claim, UNTOLD, numbers, f"{missing} of {len(differences)} differences were not run" if missing else ""
    )
