from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arsbench.contracts import ArsbenchError
from arsbench.scoring.statistics import averages, compare, median, ranks, summarise


def rows_of(cells: dict[tuple[str, str, int], list[float]], metric: str = "mse") -> pd.DataFrame:
    """(protector, perturbation, level) -> one value per image."""
    lines = [
        (protector, "psp-mix", perturbation, level, f"face-{i:03d}", 0.3, value)
        for (protector, perturbation, level), values in cells.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(
        lines, columns=["protector", "manipulator", "perturbation", "level", "image", "epsilon", metric]
    )


def test_a_cell_is_summarised_by_its_mean_and_number_of_images() -> None:
    line = summarise(rows_of({("pgd", "none", 0): [0.1, 0.2, 0.6]})).iloc[0]
    assert line["n"] == 3
    assert line["mse"] == pytest.approx(0.3)


def test_the_interval_is_that_of_the_normal_approximation_on_many_images() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 900)
    line = summarise(rows_of({("pgd", "none", 0): values.tolist()})).iloc[0]
    half = 1.96 * values.std() / 30
    assert line["mse_low"] == pytest.approx(values.mean() - half, abs=0.12 * half)
    assert line["mse_high"] == pytest.approx(values.mean() + half, abs=0.12 * half)


def test_amplification_is_a_median_that_leaves_nan_out_and_counts() -> None:
    rows = rows_of({("pgd", "none", 0): [math.nan, 1.0, 9.0, 2.0, math.nan]}, "amplification")
    line = summarise(rows).iloc[0]
    assert line["amplification"] == 2.0
    assert line["amplification_n"] == 3
    assert line["n"] == 5


def test_the_medians_interval_agrees_with_resampling() -> None:
    values = np.sort(np.random.default_rng(2).normal(size=41))
    draws = np.random.default_rng(3).choice(values, size=(20_000, 41))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    assert median(values) == (41, values[20], pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("n", [2, 3, 4, 10, 41, 100, 257])
def test_the_medians_interval_begins_where_the_binomial_first_reaches_its_tail(n: int) -> None:
    def at_most(k: int) -> Fraction:
        """The chance that at least half of n draws are among the k smallest values, exactly."""
        at_least_half = range((n + 1) // 2, n + 1)
        return Fraction(sum(math.comb(n, j) * k**j * (n - k) ** (n - j) for j in at_least_half), n**n)

    first = next(k for k in range(1, n + 1) if at_most(k) >= Fraction(25, 1000))
    _, _, low, high = median(np.arange(1.0, n + 1))
    assert (low, high) == (first, n + 1 - first)


def test_one_image_gives_no_interval() -> None:
    line = summarise(rows_of({("pgd", "none", 0): [0.4]})).iloc[0]
    assert line["mse"] == 0.4
    assert math.isnan(line["mse_low"])


def test_a_level_is_the_mean_of_its_cells_and_not_of_its_rows() -> None:
    rows = rows_of({("pgd", "jpeg", 5): [1.0, 1.0, 1.0], ("pgd", "dropout", 5): [3.0]})
    line = averages(rows, ("protector", "level")).iloc[0]
    assert line["mse"] == pytest.approx(2.0)
    assert line["n"] == 1
    assert line["cells"] == 2


def test_images_are_resampled_jointly_over_the_perturbations() -> None:
    # What one perturbation takes from an image the other gives: only a joint draw knows that the mean is certain.
    values = np.random.default_rng(4).random(50)
    rows = rows_of({("pgd", "jpeg", 5): values.tolist(), ("pgd", "dropout", 5): (1 - values).tolist()})
    line = averages(rows, ("protector", "level")).iloc[0]
    assert line["mse_low"] == pytest.approx(0.5)
    assert line["mse_high"] == pytest.approx(0.5)


def test_a_small_steady_lead_is_seen_by_pairing() -> None:
    base = np.random.default_rng(5).random(60)
    rows = rows_of({("a", "none", 0): (base + 0.01).tolist(), ("b", "none", 0): base.tolist()})
    result = compare(rows, "a", "b", "mse")
    assert result.difference == pytest.approx(0.01)
    assert result.low == pytest.approx(0.01)
    assert result.distinguishable


def test_protectors_on_other_cells_are_not_compared() -> None:
    rows = rows_of({("a", "jpeg", 5): [1.0, 2.0], ("b", "dropout", 5): [1.0, 2.0]})
    with pytest.raises(ArsbenchError, match="'a' and 'b' cannot be compared"):
        compare(rows, "a", "b", "mse")


def test_the_tied_share_a_rank_and_the_next_one_is_skipped() -> None:
    base = np.random.default_rng(6).random(40)
    noise = np.random.default_rng(7).normal(0, 0.2, 40)
    rows = rows_of(
        {
            ("first", "none", 0): (base + 2).tolist(),
            ("equal", "none", 0): (base + 2 + noise - noise.mean()).tolist(),
            ("last", "none", 0): base.tolist(),
        }
    )
    assert ranks(rows, "mse") == {"first": 1, "equal": 1, "last": 3}


def test_the_lower_psnr_ranks_first() -> None:
    rows = rows_of({("strong", "none", 0): [10.0, 11.0, 12.0], ("weak", "none", 0): [30.0, 31.0, 32.0]}, "psnr")
    assert ranks(rows, "psnr") == {"strong": 1, "weak": 2}


def test_one_image_ranks_nobody_above_another() -> None:
    assert ranks(rows_of({("a", "none", 0): [1.0], ("b", "none", 0): [0.0]}), "mse") == {"a": 1, "b": 1}


def test_manipulators_with_faces_of_their_own_can_be_averaged() -> None:
    first = rows_of({("a", "none", 0): [1.0, 1.0], ("b", "none", 0): [0.0, 0.0]})
    second = first.assign(manipulator="simswap", image="other-" + first["image"], mse=first["mse"] * 3)
    assert compare(pd.concat([first, second]), "a", "b", "mse").difference == pytest.approx(2.0)


def test_an_image_that_stands_twice_is_refused() -> None:
    rows = rows_of({("a", "none", 0): [1.0, 2.0]})
    with pytest.raises(ArsbenchError, match=r"'face-000' stands twice in the cell a / psp-mix / none / level 0"):
        summarise(pd.concat([rows, rows]))


def test_a_cell_does_not_depend_on_what_else_was_run() -> None:
    values = np.random.default_rng(8).random((2, 20))
    rows = rows_of({("a", "none", 0): values[0].tolist(), ("b", "none", 0): values[1].tolist()})
    alone = summarise(rows[rows["protector"] == "b"]).iloc[0]
    pd.testing.assert_series_equal(summarise(rows).iloc[1], alone, check_names=False)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    values = np.random.default_rng(9).random((3, 15))
    rows = rows_of({(name, "none", 0): v.tolist() for name, v in zip("abc", values, strict=True)})
    shuffled = rows.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(summarise(shuffled), summarise(rows), check_exact=True)
    assert ranks(shuffled, "mse") == ranks(rows, "mse")


def test_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    summarise(rows_of({("a", "none", 0): [1.0, 2.0]}))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
