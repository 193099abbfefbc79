from __future__ import annotations

import pandas as pd
import pytest

from arsbench.reports.pages import page_column
from arsbench.reports.standing import METRICS, from_rows, ordered, per_image
from arsbench.scoring import statistics


@pytest.fixture(scope="module")
def rows(make_rows):
    """A small complete run of protectors made against the manipulators that they meet."""
    return make_rows().assign(trained_on="")


def test_the_worst_case_is_that_of_each_image_and_manipulator(rows):
    (ars,) = [standing for standing in from_rows(rows) if standing.name == "ars"]
    own = rows[(rows["protector"] == "ars") & (rows["level"] == 5)]
    held = [
        own[(own["image"] == image) & (own["manipulator"] == model)]["sr_strict"].min()
        for image in set(own["image"])
        for model in set(own["manipulator"])
    ]
    assert ars.value("sr_strict_worst").value == pytest.approx(sum(held) / len(held))
    assert ars.value("sr_strict").value == pytest.approx(own["sr_strict"].mean())
    assert ars.cell("jpeg", "psp-mix", 1) == pytest.approx(
        rows.query("protector == 'ars' and perturbation == 'jpeg' and level == 1 and manipulator == 'psp-mix'")[
            "sr_strict"
        ].mean()
    )


def test_controls_take_their_place_and_no_rank(rows):
    standings = from_rows(rows)
    assert {s.name for s in standings if s.rank is None} == {"none", "noise", "brighten", "shade", "white"}
    values = [standing.value("sr_strict").value for standing in ordered(standings)]
    assert values == sorted(values, reverse=True)
    entries = ["fgsm", "pgd", "disrupt", "ars"]
    strongest = rows[rows["level"] == 5]
    assert {s.name: s.rank for s in standings if s.rank} == statistics.ranks(strongest, protectors=entries)


def test_protectors_of_different_cells_have_no_rank(rows):
    lacks = rows[~((rows["protector"] == "pgd") & (rows["perturbation"] == "jpeg"))]
    assert all(standing.rank is None for standing in from_rows(lacks))


def test_images_come_worst_first(rows):
    own = rows[rows["protector"] == "pgd"]
    lines = per_image(own)
    assert list(lines["sr_strict"]) == sorted(lines["sr_strict"])
    first = lines.iloc[0]
    cells = own[(own["image"] == first["image"]) & (own["level"] == 5)]
    assert (first["cells"], first["held"]) == (12, cells["sr_strict"].sum())
    assert first["amplification"] == pytest.approx(cells["amplification"].median())
    assert first["mse"] == pytest.approx(cells["mse"].mean())


def test_of_images_that_hold_as_often_the_one_that_changed_least_comes_first():
    cell = {"manipulator": "m", "perturbation": "jpeg", "level": 5, "sr_strict": 0.0}
    lines = per_image(pd.DataFrame([{**cell, "image": "a", "mse": 0.04}, {**cell, "image": "b", "mse": 0.01}]))
    assert list(lines["image"]) == ["b", "a"]


def test_every_metric_of_a_page_has_its_heading():
    assert all(page_column(metric).name for metric in METRICS)
