from __future__ import annotations

from pathlib import Path

import pytest
import torch

from arsbench.leaderboard import check as checking
from arsbench.leaderboard.check import check
from arsbench.leaderboard.flags import FINDINGS

UNRULY = Path(__file__).with_name("unruly.py")
DOCUMENT = Path(__file__).parents[3] / "docs" / "flags.md"


def found(name, **more):
    return {flag.name: flag for flag in check(f"{UNRULY}:{name}", grid=False, **more).flags}


def test_a_clean_method_has_no_findings():
    report = check(f"{UNRULY}:Clean", grid=False)
    assert report.flags == []
    assert report.passed
    assert 0 < report.seconds_per_face < 5


@pytest.mark.parametrize(
    ("name", "finding", "said"),
    [
        ("Raises", "raises", "by nothing"),
        ("Leaves", "raises", "SystemExit"),
        ("Cancels", "raises", "CancelledError"),
        ("ParsesKeys", "raises", "Ünrelated"),
        ("Type", "type", "ndarray"),
        ("Dtype", "type", "float64"),
        ("Shape", "shape", "[1, 3, 64, 63]"),
        ("NotFinite", "not-finite", "not finite"),
        ("UnitRange", "range", "looks like [0, 1]"),
        ("Beyond", "range", "to 1."),
        ("Budget", "budget", "0.6"),
        ("IgnoresEpsilon", "ignores-epsilon", "0.2"),
        ("Unseeded", "not-deterministic", "differ by"),
        ("NumpyDraws", "global-generator", "numpy"),
        ("PythonDraws", "global-generator", "Python"),
        ("TorchDraws", "global-generator", "torch"),
        ("Seeds", "global-generator", "numpy"),
        ("BatchDependence", "batch-dependence", "mean difference"),
        ("OrderDependence", "order-dependence", "after"),
        ("ChangesInput", "changes-input", "other values"),
        ("ChangesManipulator", "changes-manipulator", "mode of"),
        ("LeavesGradients", "changes-manipulator", "after a call"),
        ("GlobalState", "global-state", "dtype"),
        ("NoChange", "no-change", "none of 3"),
        ("GradientMasking", "gradient-masking", "at half of it"),
        ("Brightening", "brightening", "% of the change"),
    ],
)
def test_each_finding_is_raised_by_the_method_that_has_it(name, finding, said):
    flags = found(name)
    assert finding in flags
    assert said in flags[finding].what
    assert torch.get_default_dtype() == torch.float32


def test_a_method_that_is_slow(monkeypatch):
    monkeypatch.setattr(checking, "SLOW", 0.04)
    assert "slow" in found("Slow")


def test_a_method_that_saturates(monkeypatch):
    monkeypatch.setattr(checking, "SATURATED", 0.15)
    assert "saturation" in found("Saturation")
    assert "saturation" not in found("Clean")


def test_a_broken_promise_to_be_batch_invariant_is_an_error():
    assert found("BatchDependence")["batch-dependence"].level == "warning"
    assert found("BrokenPromise")["batch-dependence"].level == "error"


@pytest.mark.slow
def test_a_cell_that_fails_is_named():
    report = check(f"{UNRULY}:FailsOnePicture")
    assert [flag.name for flag in report.flags] == ["grid"]
    assert "not against this one" in report.flags[0].what
    assert report.rows == 3 * 31 * 2


@pytest.mark.parametrize("finding", FINDINGS.values(), ids=list(FINDINGS))
def test_the_documentation_lists_every_finding(finding):
    text = DOCUMENT.read_text()
    section = text.split(f"## {finding.name}\n")[1].split("\n## ")[0]
    plain = " ".join(section.split())
    for said in (finding.level.capitalize(), finding.what, finding.raised_if, finding.todo):
        assert " ".join(said.split()) in plain


def test_the_documentation_lists_no_other():
    headings = [line[3:] for line in DOCUMENT.read_text().splitlines() if line.startswith("## ")]
    assert headings == list(FINDINGS)
