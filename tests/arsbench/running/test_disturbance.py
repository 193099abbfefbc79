"""What code of one method does is that method's affair: the rows of the others do not move, and it is named."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch

import arsbench
from arsbench import registry
from arsbench.contracts import ArsbenchError
from arsbench.faces import datasets
from arsbench.folders import cache_home
from arsbench.running import evaluate
from arsbench.running.locks import hold
from arsbench.running.references import may_cache
from arsbench.running.status import status

FILE = Path(__file__).parents[1] / "disturbing.py"

pytestmark = pytest.mark.usefixtures("no_reports")


def run(protector="none", manipulator="Statistics", **more):
    """Rows without their seconds, and the sentences that were said."""
    settings = {"perturbation": "none", "images": 3, "cache": False} | more
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = arsbench.run(
            protector if protector.islower() else f"{FILE}:{protector}", f"{FILE}:{manipulator}", **settings
        )
    return rows.drop(columns="seconds"), [str(warning.message) for warning in caught]


@pytest.fixture(scope="module")
def controls():
    return run()[0]


def assert_controls_unmoved(rows, controls):
    pd.testing.assert_frame_equal(rows[rows.protector.isin(set(controls.protector))].reset_index(drop=True), controls)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_training_mode_that_is_left_on_moves_no_other_row(controls, batch):
    rows, said = run("TrainingModeLeftOn", batch=batch)
    assert_controls_unmoved(rows, controls)
    assert set(rows[rows.protector == "training-mode-left-on"].mse) == {0.0}
    (sentence,) = said
    assert sentence.startswith("protector 'training-mode-left-on' changed manipulator 'statistics': training mode")


def test_weights_written_through_data_reach_neither_other_protectors_nor_its_own_next_picture(controls):
    rows, said = run("WritesThroughData")
    assert_controls_unmoved(rows, controls)
    assert set(rows[rows.protector == "writes-through-data"].protected_linf) == {0.0}
    assert "protector 'writes-through-data' changed manipulator" in said[0]


def test_a_manipulator_that_changes_itself_is_named_and_not_its_protector():
    _, said = run("TrainingModeLeftOn", "InTraining")
    assert any("manipulator 'in-training' itself changed" in sentence for sentence in said)
    assert not any("protector" in sentence and "changed" in sentence for sentence in said)


def test_what_was_promised_to_threads_and_not_kept_is_done_again_in_turn(controls):
    first, said = run("ThreadedDtype")
    again, _ = run("ThreadedDtype", batch=1)
    pd.testing.assert_frame_equal(first, again)
    assert_controls_unmoved(first, controls)
    assert any("'threaded-dtype' left behind torch's default dtype" in sentence for sentence in said)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("protector", ["PythonDraws", "NumpyDraws", "NewWeights"])
def test_the_same_run_twice_gives_the_same_rows(protector):
    (first, said), (again, _) = run(protector), run(protector, batch=1)
    pd.testing.assert_frame_equal(first, again)
    assert first[first.protector == first.protector[0]].protected_linf.max() > 0
    draws = [sentence for sentence in said if "draws from" in sentence]
    assert len(draws) == (protector != "NewWeights")


def test_a_perturbation_that_draws_gives_both_pictures_the_same_draw():
    rows, said = run(perturbation=f"{FILE}:DrawingNoise", level="0,3")
    assert set(rows[rows.protector == "none"].mse) == {0.0}
    assert any("perturbation 'drawing-noise' draws from torch's and numpy's and Python's" in s for s in said)


def test_a_perturbation_that_promised_not_to_draw_is_done_again_in_turn(monkeypatch):
    monkeypatch.setattr(evaluate, "threads", lambda: 2)
    wanted = {"perturbation": f"{FILE}:ThreadedDrawingNoise", "level": "1,2,3,4"}
    (first, said), (again, _) = run(**wanted), run(**wanted, batch=1)
    assert set(first[first.protector == "none"].mse) == {0.0}
    assert any("perturbation 'threaded-drawing-noise' draws from torch's" in sentence for sentence in said)
    pd.testing.assert_frame_equal(first, again)


@pytest.mark.parametrize("protector", ["Exits", "HardExit", "OwnBaseException"])
def test_code_that_would_end_the_process_fails_its_own_cells(controls, protector):
    rows, said = run(protector)
    assert_controls_unmoved(rows, controls)
    assert len(rows) == len(controls)
    assert len(said) == 1
    assert f"protector '{registry.find('protector', f'{FILE}:{protector}').name}' failed: " in said[0]


def test_a_constructor_that_exits_is_one_sentence():
    with pytest.raises(ArsbenchError, match="protector 'exits-when-made' cannot be made: SystemExit: no licence"):
        run("ExitsWhenMade")


def test_a_perturbation_of_another_range_fails_and_says_which():
    rows, said = run(perturbation=f"{FILE}:UnitRange", level="0,1")
    assert set(rows.perturbation) == {"none"}
    assert any("perturbation 'unit-range' returned values that look like [0, 1]" in sentence for sentence in said)


def test_outputs_that_depend_on_a_file_without_a_hash_are_not_cached(tmp_path, monkeypatch):
    gain = tmp_path / "gain.txt"
    monkeypatch.setattr(registry.find("manipulator", f"{FILE}:Quarter").cls, "path", str(gain))
    found = []
    for value in ("0.5", "0.25"):
        gain.write_text(value)
        rows, _ = run(manipulator="Quarter", out=tmp_path / value, cache=True)
        found.append(rows[rows.protector == "white"].mse.iloc[0])
    assert found[0] != found[1]


def test_a_subclass_of_another_package_has_not_promised_what_its_base_has():
    from arsbench.manipulators.psp import PspRecon

    class Mine(PspRecon):
        def manipulate(self, x, keys):
            return super().manipulate(x, keys)

    shipped = arsbench.load_manipulator("psp-recon")
    assert may_cache(shipped)
    shipped.__class__ = Mine
    assert not may_cache(shipped)


def test_what_was_disturbed_stands_in_the_manifest(tmp_path):
    run("PythonDraws", out=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert "draws from Python's global generator" in manifest["notes"][0]
    assert manifest["versions"]["jpeg"].startswith("libjpeg")


def test_what_the_making_of_a_perturbation_disturbed_is_said_and_its_weights_stand_in_the_manifest(tmp_path):
    _, said = run(perturbation=f"{FILE}:DtypeWhenMade", level="0", images=1, out=tmp_path / "run")
    (sentence,) = said
    assert sentence.startswith("perturbation 'dtype-when-made' left behind torch's default dtype")
    assert sentence.endswith("when it was made; it was put back")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["weights_sha256"]["perturbation dtype-when-made"] == "c" * 64


def test_a_run_whose_process_is_gone_is_stopped_and_not_running(tmp_path):
    run(out=tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "running"}))
    assert status(tmp_path / "run").state == "stopped"
    lock = hold(tmp_path / "run")
    assert status(tmp_path / "run").state == "running"
    lock.close()


def test_an_account_without_a_home_folder_runs_without_a_cache(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    rows, said = run(cache=True)
    assert len(rows) == 15
    assert said == ["this account has no home folder, so there is no cache; set XDG_CACHE_HOME to have one"]
    assert datasets.added() == []
    with pytest.raises(ArsbenchError, match="set XDG_CACHE_HOME to a folder of yours"):
        cache_home()
