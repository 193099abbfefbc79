from __future__ import annotations

import dataclasses
import math
import threading

import pandas as pd
import pytest
import torch

from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import deliver
from arsbench.faces.shipped import load_faces
from arsbench.rows import COLUMNS
from arsbench.running.evaluate import Batch, _alone, evaluate, perturbed
from arsbench.running.plan import Protection, Severity

X, KEYS = load_faces(n=5)
SEVERITIES = [Severity(), Severity("fade", 3, 0.7, ""), Severity("crash", 5, 5.0, "")]


def rows(bench, indices=range(5), severities=None):
    batch = Batch(tuple(bench.plan.images[i] for i in indices), X[list(indices)])
    todo = dict.fromkeys(bench.protectors, severities or bench.plan.severities)
    return evaluate(bench, batch, todo)


def column(result, name, **where):
    table = result.columns
    keep = [all(table[key][i] == value for key, value in where.items()) for i in range(len(table["image"]))]
    return [value for value, kept in zip(table[name], keep, strict=True) if kept]


def test_every_column_is_filled(bench):
    result = rows(bench("Push", "none", "white"))
    assert {len(values) for values in result.columns.values()} == {3 * 2 * 5}
    assert list(result.columns) == [c.name for c in COLUMNS]


def test_mse_is_that_of_the_formula(bench):
    made = bench("Push")
    found = column(rows(made), "mse", level=3)
    for i, key in enumerate(KEYS):
        x = X[i : i + 1]
        x_p = deliver(made.protectors[Protection("push", 0.3)].protect(x, [key]))
        with torch.no_grad():
            y = made.manipulator.manipulate(deliver(0.7 * x), [key]).clamp(-1, 1)
            y_p = made.manipulator.manipulate(deliver(0.7 * x_p), [key]).clamp(-1, 1)
        assert found[i] == pytest.approx((y - y_p).square().mean().item(), abs=1e-6)


def test_the_control_none_is_exactly_zero(bench):
    assert set(column(rows(bench("none")), "mse")) == {0.0}


def test_the_ceiling_is_white(bench):
    made = bench("white")
    y = made.manipulator.manipulate(X[:1], KEYS[:1]).clamp(-1, 1)
    found = column(rows(made), "mse", level=0, image=KEYS[0])
    assert found == pytest.approx([(1 - y).square().mean().item()], rel=1e-5)


@pytest.mark.parametrize("name", ["epsilon", "seconds", "amplification", "protected_mse", "protected_linf"])
def test_the_ceiling_has_no_budget_seconds_or_amplification(bench, name):
    assert all(math.isnan(value) for value in column(rows(bench("white")), name))


def test_the_ceiling_is_the_ceiling_of_sr_strict(bench):
    assert set(column(rows(bench("white")), "sr_strict")) == {1.0}


def test_conditions_stand_in_the_rows(bench):
    assert column(rows(bench("none")), "condition", level=0) == [f"of {key}" for key in KEYS]


def test_seconds_are_positive(bench):
    assert min(column(rows(bench("Push")), "seconds")) > 0


def test_rows_do_not_depend_on_their_batch(bench):
    made = bench("Push", "noise")
    together = rows(made)
    alone = rows(made, [3])
    for name in ("mse", "lpips", "protected_mse", "mse_clean_reference"):
        assert column(together, name, image=KEYS[3]) == pytest.approx(column(alone, name), abs=1e-5)


LEVELS = [Severity(), *(Severity("fade", level, 1 - level / 10, "") for level in range(1, 6))]


def names_of_threads(perturbation):
    """Of those that it is called in; filled when it is."""
    names, perturb = set(), perturbation.perturb

    def watched(x, parameter, keys):
        names.add(threading.current_thread().name)
        return perturb(x, parameter, keys)

    perturbation.perturb = watched
    return names


@pytest.mark.parametrize("cores", [2, 3])
def test_severities_side_by_side_have_the_rows_of_one_after_the_other(bench, monkeypatch, cores):
    made = bench("Push", "noise", manipulator="ThreadedMirror", severities=LEVELS)
    names = names_of_threads(made.perturbations["fade"])
    in_turn = rows(made)
    assert names == {threading.main_thread().name}
    monkeypatch.setattr(type(made.perturbations["fade"]), "thread_safe", True)
    monkeypatch.setattr("arsbench.running.evaluate.threads", lambda: cores)
    names.clear()
    together = rows(made)
    assert names
    assert threading.main_thread().name not in names
    pd.testing.assert_frame_equal(*(pd.DataFrame(r.columns).drop(columns="seconds") for r in (in_turn, together)))


def test_a_failing_perturbation_in_a_thread_fails_its_own_cells(bench, monkeypatch):
    made = bench("none", manipulator="ThreadedMirror", severities=[*LEVELS[1:4], Severity("crash", 5, 5.0, "")])
    for perturbation in made.perturbations.values():
        monkeypatch.setattr(type(perturbation), "thread_safe", True)
    monkeypatch.setattr("arsbench.running.evaluate.threads", lambda: 2)
    result = rows(made)
    assert [(f.perturbation, f.level) for f in result.failures] == [("crash", 5)]
    assert set(result.columns["perturbation"]) == {"fade"}


@pytest.mark.parametrize(
    ("severities", "cores", "alone"), [(31, 2, 1), (30, 2, 0), (1, 2, 1), (31, 8, 0), (3, 8, 3), (5, 1, 5)]
)
def test_a_few_severities_that_are_left_over_are_shared_by_all_cores(severities, cores, alone):
    assert _alone(severities, cores) == alone


def test_a_failure_in_a_thread_fails_the_protector_alone(bench):
    result = rows(bench("ThreadedCrash", "none", manipulator="ThreadedMirror"))
    assert [f.protector for f in result.failures] == ["threaded-crash"]
    assert "no such picture" in result.failures[0].sentence
    assert set(result.columns["protector"]) == {"none"}


@pytest.mark.parametrize(
    ("protector", "said"),
    [
        ("OverBudget", "over its budget"),
        ("NotANumber", "NaN"),
        ("WrongShape", "shape"),
        ("Raises", "protector 'raises' failed: ZeroDivisionError: by nothing"),
        ("Closes", "protector 'closes' failed: GeneratorExit"),
    ],
)
def test_a_failing_protector_fails_alone(bench, protector, said):
    made = bench(protector, "none")
    result = rows(made)
    assert set(result.columns["protector"]) == {"none"}
    (failure,) = result.failures
    assert said in failure.sentence
    assert "\n" not in failure.sentence
    assert (failure.protector, failure.manipulator, failure.perturbation) == (
        next(iter(made.protectors)).protector,
        "mirror",
        None,
    )


def test_a_failing_perturbation_fails_its_own_cells(bench):
    result = rows(bench("none", severities=SEVERITIES))
    assert {(f.perturbation, f.level, f.protector) for f in result.failures} == {("crash", 5, None)}
    assert set(result.columns["perturbation"]) == {"none", "fade"}


def test_a_failing_manipulator_is_one_sentence(bench):
    result = rows(bench("none", manipulator="Broken"))
    (failure,) = result.failures
    assert failure.sentence.startswith("manipulator 'broken' returned NaN")
    assert result.columns["image"] == []


def test_a_manipulator_of_another_range_is_told_so(bench):
    (failure,) = rows(bench("none", manipulator="UnitRange")).failures
    assert failure.sentence.startswith("manipulator 'unit-range' returned values that look like [0, 1]")


def test_only_what_is_asked_for_is_computed(bench):
    made = bench("none", "noise")
    result = evaluate(made, Batch(made.plan.images[:1], X[:1]), {Protection("noise", 0.3): [SEVERITIES[1]]})
    assert list(zip(result.columns["protector"], result.columns["level"], strict=True)) == [("noise", 3)]


def test_the_reference_is_computed_once_for_all_protectors(bench):
    made = bench("none", "noise", "brighten", "shade", "white")
    type(made.manipulator).seen = 0
    rows(made)
    assert type(made.manipulator).seen == 5 * 2 * (1 + 4)


def test_perturbed_refuses_what_is_no_picture(bench):
    class Squeezed:
        name = "squeezed"

        def perturb(self, x, parameter, keys):
            return x[0]

    with pytest.raises(ArsbenchError, match="perturbation 'squeezed' returned shape"):
        perturbed(Squeezed(), 1.0, X, KEYS)


class Brightness(torch.nn.Module):
    """A recogniser whose descriptor is the mean colour."""

    def forward(self, x):
        return x.mean((2, 3))


def test_identity_is_nan_unless_a_recogniser_is_given(bench):
    result = rows(bench("none"))
    assert all(math.isnan(value) for value in result.columns["identity_distance"])


def test_identity_compares_the_output_with_whom_the_forger_aims_at(bench):
    made = dataclasses.replace(bench("none"), recogniser=Brightness())
    made.manipulator.aim = lambda x, keys: torch.ones_like(x)
    y = made.manipulator.manipulate(X, KEYS).clamp(-1, 1).mean((2, 3)).double()
    result = rows(made)
    distance = torch.tensor(column(result, "identity_distance", protector="none", level=0)).double()
    cosine = torch.tensor(column(result, "identity_cosine", protector="none", level=0)).double()
    torch.testing.assert_close(distance, (y - 1).square().sum(1).sqrt(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cosine, y.sum(1) / y.square().sum(1).sqrt() / 3**0.5, rtol=1e-5, atol=1e-6)


def test_the_forger_aims_at_the_face_itself_unless_the_manipulator_says_otherwise(bench):
    assert torch.equal(bench("none").manipulator.aim(X, KEYS), X)
