"""The paper track's models with random weights: for speed, and for nothing else."""

from __future__ import annotations

import pytest

import arsbench
from arsbench import reports
from arsbench.cli import execute_command
from arsbench.contracts import ArsbenchError


@pytest.fixture
def settings(fake):
    return {
        "protector": "none",
        "manipulator": fake("Official"),
        "perturbation": "none",
        "images": 1,
        "track": "paper",
        "weights": "random",
    }


def test_every_row_says_so_and_the_faces_are_of_the_tracks_size(settings):
    rows = arsbench.run(**settings)
    assert set(rows.weights) == {"random"}
    assert len(rows) == 5  # the controls


def test_rows_of_real_weights_do_not_say_so(small):
    assert set(arsbench.run(**small | {"images": 1}).weights) == {""}


@pytest.mark.parametrize("kind", ["leaderboard", "6"])
def test_no_table_takes_them_not_even_in_part(settings, kind):
    rows = arsbench.run(**settings)
    for partial in (False, True):
        with pytest.raises(ArsbenchError, match="random weights, to measure speed"):
            reports.render_table(kind, rows, partial=partial)


def test_a_run_writes_its_rows_and_no_report(settings, tmp_path, capsys):
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    assert execute_command(["run", *options, "--out", str(tmp_path / "run")]) == 0
    assert "random weights: the rows serve to measure speed" in capsys.readouterr().out
    assert list((tmp_path / "run" / "parts").glob("*.parquet"))
    assert not (tmp_path / "run" / "tables").exists()


def test_models_of_the_open_track_have_their_own_weights(settings):
    with pytest.raises(ArsbenchError, match="does not run with random weights"):
        arsbench.run(**settings | {"manipulator": "psp-recon", "track": "open"})


def test_other_weights_are_one_sentence(settings):
    with pytest.raises(ArsbenchError, match="unknown weights 'rnadom'; did you mean random"):
        arsbench.run(**settings | {"weights": "rnadom"})


def test_the_paper_track_without_random_weights_needs_faces(settings):
    with pytest.raises(ArsbenchError, match=r"checkpoint 'absent'|arsbench data add"):
        arsbench.run(**settings | {"weights": "own"})
