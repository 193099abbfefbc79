from __future__ import annotations

import pandas as pd
import pytest

from arsbench.scoring.controls import verdict


def rows(*, none: float = 0.0, none_perturbed: float = 0.0, noise_sr: float = 0.0) -> pd.DataFrame:
    """Of two controls against ``loud``, without perturbation and under ``blur``."""
    lines = [
        ("none", "none", 0, none, 0.0),
        ("none", "blur", 5, none_perturbed, 0.0),
        ("noise", "none", 0, 0.01, noise_sr),
        ("noise", "blur", 5, 0.01, 1.0),
    ]
    table = pd.DataFrame(lines, columns=["protector", "perturbation", "level", "mse", "sr"])
    return table.assign(manipulator="loud")


def test_controls_that_keep_their_bounds_leave_a_run_valid():
    assert not verdict(rows(none=1e-10, none_perturbed=1e-10, noise_sr=0.04), "loud").void


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"none": 0.2, "none_perturbed": 0.1}, "an mse of 0.2, above 1e-09: it is not deterministic"),
        ({"none_perturbed": 0.1}, "an mse of 0.1, above 1e-09: perturbation 'blur' is not deterministic"),
        ({"none": float("nan")}, "control 'none' reaches an mse of nan"),
        ({"noise_sr": 0.05}, "control 'noise' reaches an SR of 0.05 without perturbation, not under 0.05"),
    ],
)
def test_a_control_out_of_bounds_voids_a_run_and_says_whose_fault_it_is(given, said):
    found = verdict(rows(**given), "loud")
    assert found.void
    assert said in found.reason


def test_a_run_without_its_controls_is_void():
    assert verdict(rows(), "other").reason == "its controls are missing"
