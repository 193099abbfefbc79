"""Several budgets in one run, transfer, what two runs share, and running again."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import pandas as pd
import pytest

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.running import estimate as estimating
from arsbench.running import evaluate
from arsbench.running.again import changed, settings_like
from arsbench.running.checks import parse_epsilons
from arsbench.running.estimate import estimate
from arsbench.running.manifest import read_manifest
from arsbench.running.prepare import Prepared
from arsbench.running.settings import Settings
from arsbench.running.speed import measure

NUMBERS = ["mse", "lpips", "sr", "protected_linf"]


@pytest.fixture
def tiny(fake, no_figures):
    return {
        "protector": fake("Push"),
        "manipulator": fake("Mirror"),
        "perturbation": "gaussian_blur",
        "level": "0,5",
        "images": 3,
    }


@pytest.fixture
def no_figures(monkeypatch):
    """Figures take longer than the run itself."""
    monkeypatch.setattr("arsbench.reports.figures.of_run", lambda rows: [])


def only(rows: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    return rows.reset_index(drop=True)


def test_a_budgets_rows_are_those_of_a_run_of_its_own(tiny):
    both = arsbench.run(**tiny, epsilon="0.1,0.3")
    alone = arsbench.run(**tiny, epsilon=0.1)
    for protector in ("push", "noise", "brighten"):
        pd.testing.assert_frame_equal(
            only(both, protector=protector, epsilon=0.1)[NUMBERS], only(alone, protector=protector)[NUMBERS]
        )
    assert (only(both, protector="push").groupby("epsilon")["protected_linf"].max() <= [0.105, 0.305]).all()


def test_the_ceiling_has_no_budget_and_stands_once(tiny):
    white = only(arsbench.run(**tiny, epsilon=[0.1, 0.3]), protector="white")
    assert white["epsilon"].isna().all()
    assert len(white) == 2 * 3


@pytest.mark.parametrize("given", ["", "0.1,x", [0.1, -1], float("nan"), "3"])
def test_what_is_no_budget_is_refused(given):
    with pytest.raises(ArsbenchError, match="epsilon"):
        parse_epsilons(given)


def test_transfer_protects_against_one_and_evaluates_on_another(tiny, fake):
    rows = arsbench.run(**tiny | {"manipulator": [fake("Mirror"), fake("Loud")]}, trained_on=fake("Mirror"))
    push = only(rows, protector="push")
    assert set(zip(push["manipulator"], push["trained_on"], strict=True)) == {("mirror", ""), ("loud", "mirror")}
    assert set(only(rows, protector="noise")["trained_on"]) == {""}
    # The same picture meets both: it was made against mirror.
    pair = [only(push, manipulator=name, level=0)["protected_mse"].tolist() for name in ("mirror", "loud")]
    assert pair[0] == pair[1]
    against_loud = arsbench.run(**tiny | {"manipulator": fake("Loud")})
    assert only(against_loud, protector="push", level=0)["protected_mse"].tolist() != pair[1]


def test_transfer_protects_once_against_each_manipulator_and_gives_the_same_rows(tiny, fake, monkeypatch):
    both = [fake("Mirror"), fake("Loud")]
    settings = tiny | {"manipulator": both, "trained_on": both, "epsilon": "0.1,0.3", "cache": False}
    made = []
    protect = evaluate.protect
    monkeypatch.setattr(
        evaluate, "protect", lambda bench, who, *x: made.append(who.protector) or protect(bench, who, *x)
    )
    rows = arsbench.run(**settings)
    assert made.count("push") == 2 * 2
    made.clear()
    monkeypatch.setattr(Prepared, "_made_once", None)
    pd.testing.assert_frame_equal(arsbench.run(**settings)[NUMBERS], rows[NUMBERS])
    assert made.count("push") == 2 * 2 * 2


def test_a_run_of_several_budgets_and_transfer_resumes_and_reads_back(tiny, fake, tmp_path):
    settings = tiny | {"epsilon": "0.1,0.3", "trained_on": [fake("Mirror"), fake("Loud")], "out": tmp_path / "run"}
    rows = arsbench.run(**settings)
    part = next((tmp_path / "run" / "parts").glob("*.parquet"))
    part.unlink()
    pd.testing.assert_frame_equal(arsbench.run(**settings)[NUMBERS], rows[NUMBERS])
    pd.testing.assert_frame_equal(arsbench.load_results(tmp_path / "run")[NUMBERS], rows[NUMBERS])


def test_results_of_several_runs_stand_together_each_row_once(tiny, tmp_path):
    arsbench.run(**tiny, epsilon=0.1, out=tmp_path / "a")
    both = arsbench.run(**tiny, epsilon="0.1,0.3", out=tmp_path / "b")
    rows = arsbench.load_results(tmp_path / "a", tmp_path / "b")
    assert len(rows) == len(both)
    order = ["protector", "epsilon", "level", "image"]
    same = [frame.sort_values(order).reset_index(drop=True)["mse"] for frame in (rows, both)]
    pd.testing.assert_series_equal(*same)


def test_no_run_is_refused():
    with pytest.raises(ArsbenchError, match="no run is given"):
        arsbench.load_results()


def _edited(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest["plan"])
    path.write_text(json.dumps(manifest))


def test_one_name_for_two_pictures_is_refused(tiny, tmp_path):
    for name in "ab":
        arsbench.run(**tiny, out=tmp_path / name)
    _edited(tmp_path / "b", lambda plan: plan["images"].update({next(iter(plan["images"])): "other pixels"}))
    with pytest.raises(ArsbenchError, match="has other pixels than in"):
        arsbench.load_results(tmp_path / "a", tmp_path / "b")


def test_one_cell_made_in_two_ways_is_refused_by_name(tiny, tmp_path):
    arsbench.run(**tiny, out=tmp_path / "a")
    arsbench.run(**tiny, seed=1, out=tmp_path / "b")
    with pytest.raises(ArsbenchError, match=r"both hold the cell push / mirror / none / level 0"):
        arsbench.load_results(tmp_path / "b", tmp_path / "a")


def test_a_manifest_of_one_epsilon_from_before_is_read(tiny, tmp_path):
    rows = arsbench.run(**tiny, out=tmp_path / "old")

    def older(plan):
        plan["epsilon"] = plan.pop("epsilons")[0]
        del plan["trained_on"]
        for cell in plan["cells"]:
            del cell["epsilon"], cell["trained_on"]

    _edited(tmp_path / "old", older)
    pd.testing.assert_frame_equal(arsbench.load_results(tmp_path / "old")[NUMBERS], rows[NUMBERS])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pd.testing.assert_frame_equal(arsbench.run(**tiny, out=tmp_path / "old")[NUMBERS], rows[NUMBERS])


def test_like_another_run_is_that_run(tiny, fake, tmp_path):
    wanted = tiny | {"epsilon": "0.1,0.3", "trained_on": fake("Loud"), "seed": 5}
    arsbench.run(**wanted, out=tmp_path / "run")
    settings = settings_like(tmp_path / "run" / "manifest.json")
    assert (settings.epsilon, settings.seed, settings.images, settings.level) == ((0.1, 0.3), 5, 3, (0, 5))
    arsbench.run(
        **{name: getattr(settings, name) for name in (*tiny, "epsilon", "trained_on", "seed")}, out=tmp_path / "again"
    )
    first, second = read_manifest(tmp_path / "run"), read_manifest(tmp_path / "again")
    assert first["plan"]["key"] == second["plan"]["key"]
    assert changed(first, second) is None
    second["plan"]["cells"][0]["key"] = "other"
    assert "1 of" in str(changed(first, second))


def test_a_dry_run_counts_what_the_run_then_has(tiny, tmp_path):
    settings = Settings(**tiny, epsilon="0.1,0.3", out=tmp_path / "run")
    found = estimate(settings)
    assert not (tmp_path / "run").exists()
    rows = arsbench.run(**tiny, epsilon="0.1,0.3", out=tmp_path / "run")
    assert (found.rows, found.images, found.rows_done) == (len(rows), 3, 0)
    assert found.minutes > 0
    assert estimate(settings).rows_done == len(rows)


@pytest.mark.parametrize(("trained_on", "times"), [("Mirror", 1), (None, 2)])
def test_a_dry_run_counts_a_transfers_pictures_once(trained_on, times, tiny, fake, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(estimating, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def protect(bench, protection, x, keys):
        clock[0] += 60.0 if protection.protector == "push" else 0.0

    monkeypatch.setattr(estimating, "protect", protect)
    settings = tiny | {"manipulator": [fake("Mirror"), fake("Loud")]}
    found = estimate(Settings(**settings, trained_on=trained_on and fake(trained_on)))
    fixed = (estimating.START_SECONDS + estimating.REPORT_SECONDS_PER_CELL * found.cells) / 60
    assert found.minutes == pytest.approx(times + fixed, abs=1e-3)


def test_speed_counts_passes_forward_and_back(tiny, tmp_path):
    arsbench.run(**tiny, out=tmp_path / "run")
    push = next(found for found in measure(tmp_path / "run", ["cpu"]) if found.protector == "push")
    assert (push.forward, push.backward, push.network) == (2, 1, 0)  # at the start, and at x
    assert push.fastest <= push.seconds <= push.slowest
    assert (push.repetitions, push.faces) == (5, 4)
    assert push.peak_mib is not None
    assert push.peak_mib > 0
