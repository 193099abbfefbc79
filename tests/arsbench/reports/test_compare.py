"""The paper's numbers and findings beside those of made-up runs."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from arsbench.reports.compare import Comparison, compare, paper_values
from arsbench.reports.findings import DOES_NOT, HOLDS, UNTOLD, findings
from arsbench.running.speed import Speed

MakeRows = Callable[..., pd.DataFrame]
FIVE = {"fgsm": 0.3, "pgd": 0.6, "disrupt": 0.7, "tafim": 0.4, "ars": 0.9}


@pytest.fixture(scope="module")
def rows(make_rows: MakeRows) -> pd.DataFrame:
    return make_rows(FIVE, ("psp-mix", "psp-recon", "simswap", "styleclip"), images=20, levels=(0, 5))


def verdict(rows: pd.DataFrame, words: str, speeds: tuple[Speed, ...] = ()) -> str:
    (found,) = [finding for finding in findings(rows, speeds) if words in finding.claim]
    return found.verdict


def cell(found: Comparison, **wanted: object):
    (one,) = [c for c in found.cells if all(getattr(c, name) == value for name, value in wanted.items())]
    return one


def test_every_value_has_a_source_and_what_is_derived_says_so() -> None:
    values = paper_values()["values"]
    assert len(values) >= 60
    assert all(1 <= value["page"] <= 9 for value in values)
    third = [v["value"] for v in values if v["table"] == 2 and v["epsilon"] == 0.3]
    assert third == [0.31, 0.81, 0.86, 0.64, 0.96]
    assert all(v.get("derived") for v in values if v["table"] == 2 and v["epsilon"] == 0.3)


def test_table_6s_means_are_the_derived_row_of_table_2() -> None:
    values = paper_values()["values"]
    sr = (
        pd.DataFrame([v for v in values if v["table"] == 6 and v["metric"] == "sr"])
        .groupby("protector")["value"]
        .mean()
    )
    derived = {v["protector"]: v["value"] for v in values if v["table"] == 2 and v["epsilon"] == 0.3}
    assert sr.round(2).to_dict() == derived


def test_our_number_stands_beside_the_papers_with_both_places(rows: pd.DataFrame) -> None:
    one = cell(compare(rows), table=6, protector="pgd", metric="sr", setting="psp-mix, JPEG, level 5, ε 0.3")
    own = rows.query("protector == 'pgd' and manipulator == 'psp-mix' and perturbation == 'jpeg' and level == 5")
    assert one.paper == 1.0
    assert one.ours == pytest.approx(own["sr"].mean())
    assert one.difference == pytest.approx(own["sr"].mean() - 1)
    assert one.our_rank is not None


def test_what_was_not_run_has_no_number(rows: pd.DataFrame) -> None:
    one = cell(compare(rows), table=2, protector="pgd", setting="psp-mix, mean, level 5, ε 0.1")
    assert (one.ours, one.difference, one.our_rank) == (None, None, None)


def test_a_clear_lead_holds_and_a_clear_defeat_does_not(rows: pd.DataFrame) -> None:
    assert verdict(rows, "FGSM protects less") == HOLDS
    swapped = rows.assign(protector=rows["protector"].replace({"fgsm": "pgd", "pgd": "fgsm"}))
    assert verdict(swapped, "FGSM protects less") == DOES_NOT


def test_a_tie_and_what_was_not_run_cannot_be_told(rows: pd.DataFrame) -> None:
    tied = pd.concat([rows[rows["protector"] == "pgd"], rows[rows["protector"] == "pgd"].assign(protector="fgsm")])
    assert verdict(tied, "FGSM protects less") == UNTOLD
    assert verdict(rows, "transfers") == UNTOLD
    assert all(finding.verdict in (HOLDS, DOES_NOT, UNTOLD) for finding in findings(rows))


def test_one_missing_baseline_leaves_a_lead_untold_and_one_lost_refutes_it(rows: pd.DataFrame) -> None:
    strong = rows.copy()
    ars = strong["protector"] == "ars"
    strong.loc[ars, ["sr", "sr_mask"]] = 1.0
    strong.loc[~ars, ["sr", "sr_mask"]] = 0.0
    assert verdict(strong, "leads SR") == HOLDS
    assert verdict(strong[strong["protector"] != "tafim"], "leads SR") == UNTOLD
    strong.loc[ars, "sr"], strong.loc[strong["protector"] == "tafim", "sr"] = 0.0, 1.0
    assert verdict(strong, "leads SR") == DOES_NOT


def test_blur_is_the_hardest_where_less_is_left_of_every_protector(rows: pd.DataFrame) -> None:
    blurred = rows.copy()
    blurred["sr"] = (blurred["perturbation"] != "gaussian_blur").astype(float)
    assert verdict(blurred, "blur is the hardest") == HOLDS
    blurred["sr"] = (blurred["perturbation"] != "jpeg").astype(float)
    assert verdict(blurred, "blur is the hardest") == DOES_NOT


def test_measured_times_decide_who_is_fastest(rows: pd.DataFrame) -> None:
    seconds = {"fgsm": 0.06, "pgd": 0.4, "disrupt": 0.6, "tafim": 0.02, "ars": 0.02}

    def times(**changed: float) -> tuple[Speed, ...]:
        made = {**seconds, **changed}
        return tuple(
            Speed(name, "psp-mix", "cpu", "", s, 0.9 * s, 1.1 * s, 5, 4, 0, 0, 0, None) for name, s in made.items()
        )

    assert verdict(rows, "one forward pass", times()) == HOLDS
    assert verdict(rows, "one forward pass", times(ars=0.2)) == DOES_NOT
    assert verdict(rows, "one forward pass", times(ars=0.058)) == UNTOLD
