from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.faces.shipped import ShippedFaces
from arsbench.faces.sources import FaceSource
from arsbench.rows import COLUMNS
from arsbench.running import evaluate, store
from arsbench.running.engines.local import Work, pending
from arsbench.running.plan import Image
from arsbench.running.status import status
from arsbench.scoring.metrics import IDENTITY
from tests.arsbench.running.test_store import make

pytestmark = pytest.mark.usefixtures("no_reports")

NUMBERS = [c.name for c in COLUMNS if c.dtype == "float64" and c.name not in ("seconds", "epsilon")]
SUCCESSES = [name for name in NUMBERS if name.startswith("sr")]


def assert_same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """The same rows: numbers to 1e-5, successes equal."""
    names = [c.name for c in IDENTITY if c.name != "epsilon"]
    pd.testing.assert_frame_equal(a[names], b[names])
    # amplification may be large: a ratio
    np.testing.assert_allclose(a[NUMBERS].to_numpy(), b[NUMBERS].to_numpy(), rtol=1e-5, atol=1e-5)
    pd.testing.assert_frame_equal(a[SUCCESSES], b[SUCCESSES])


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    fakes = Path(__file__).parents[2] / "fakes.py"
    return arsbench.run(f"{fakes}:Push", f"{fakes}:Mirror", "dropout,gaussian_blur", "0,5", images=9, cache=False)


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_rows_do_not_depend_on_the_batch(small, expected, batch):
    assert_same(arsbench.run(**small | {"images": 9, "batch": batch}), expected)


def test_a_batch_that_does_not_fit_is_done_in_halves_and_loses_nothing(small, fake, capfd):
    settings = small | {"images": 8, "batch": 8}
    rows = arsbench.run(**settings | {"manipulator": fake("Narrow")}, progress=True)
    assert_same(rows.assign(manipulator="mirror"), arsbench.run(**settings))
    said = capfd.readouterr().err
    assert "8 images at a time do not fit; going on with 4" in said
    assert "4 images at a time do not fit; going on with 2" in said
    assert "2 images" not in said.replace("with 2", "")


@pytest.mark.parametrize(("images", "sizes"), [(100, [50, 50]), (64, [64]), (67, [34, 33]), (3, [3])])
def test_images_are_divided_evenly(images, sizes):
    work = Work("mirror", tuple(range(10, 10 + images)), {})
    groups = [group.indices for group in work.split(64)]
    assert [len(group) for group in groups] == sizes
    assert sum(groups, ()) == work.indices


def test_groups_stay_as_they_are_and_single_missing_images_are_put_together():
    plan = make(images=[Image(str(i), str(i)) for i in range(12)])
    done = np.zeros((4, 12), dtype=bool)
    done[:, 4:12] = True
    done[1, [4, 8, 9]] = False
    groups = [range(0, 4), range(4, 8), range(8, 12)]
    whole, rest = pending(plan, "g", done, groups)
    assert (whole.indices, sum(map(len, whole.todo.values()))) == ((0, 1, 2, 3), 4)
    assert (rest.indices, list(rest.todo.values())) == ((4, 8, 9), [(plan.cells[1].severity,)])
    assert next(pending(plan, "g", done, groups[1:2])).indices == (4,)


def test_a_manipulator_that_fits_with_no_image_is_one_sentence(small, fake):
    with pytest.raises(ArsbenchError, match="do not fit into the memory of cpu, not even with one image at a time"):
        arsbench.run(**small | {"images": 3, "manipulator": fake("Huge")})


class Shuffled(FaceSource):
    """The shipped faces in another order."""

    def __init__(self, *_: object) -> None:
        self._faces = ShippedFaces("test", 9)
        self._order = [4, 8, 0, 3, 7, 1, 6, 2, 5]
        self.size = self._faces.size
        self.keys = [self._faces.keys[i] for i in self._order]

    def pixels(self, index):
        return self._faces.pixels(self._order[index])


def test_rows_do_not_depend_on_the_order(small, expected, monkeypatch):
    monkeypatch.setattr("arsbench.faces.tracks.ShippedFaces", Shuffled)
    shuffled = arsbench.run(**small | {"images": 9, "batch": 4})
    keys = ["protector", "manipulator", "perturbation", "level", "image"]
    a, b = (rows.sort_values(keys, ignore_index=True) for rows in (shuffled, expected))
    assert list(shuffled.image[:9]) != list(expected.image[:9])
    assert_same(a, b)


def test_killed_at_three_random_moments_and_resumed(fake, tmp_path):
    settings = {
        "protector": fake("Push"),
        "manipulator": fake("Slow"),
        "perturbation": "dropout",
        "level": "0,5",
        "images": 24,
        "batch": 1,
    }
    script = f"import arsbench; arsbench.run(**{settings!r}, out={str(tmp_path / 'run')!r}, cache=False)"
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        before = count_parts(tmp_path)
        while process.poll() is None and count_parts(tmp_path) < before + 2:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < count_parts(tmp_path) < 24
    resumed = arsbench.run(**settings, out=tmp_path / "run", cache=False)
    assert_same(resumed, arsbench.run(**settings | {"batch": 24}, cache=False))


def count_parts(folder):
    return len(list((folder / "run" / "parts").glob("*.parquet")))


def test_resuming_computes_only_the_rest(small, fake, tmp_path):
    out = tmp_path / "run"
    arsbench.run(**small, out=out, batch=2, cache=False)
    parts = sorted((out / "parts").glob("*.parquet"))
    parts[0].unlink()
    lost = small["images"] * 6 * 3 - len(store.read_rows(out))
    mirror = arsbench.api.registry.find("manipulator", fake("Mirror")).cls
    mirror.seen = 0
    arsbench.run(**small, out=out, batch=2, cache=False)
    # per image: 3 references, 5 protectors that are run at 3 severities, and push's own two looks
    assert mirror.seen == lost // 18 * (3 + 5 * 3 + 2)


def test_a_finished_run_computes_nothing(small, fake, tmp_path):
    first = arsbench.run(**small, out=tmp_path / "run")
    mirror = arsbench.api.registry.find("manipulator", fake("Mirror")).cls
    mirror.seen = 0
    pd.testing.assert_frame_equal(arsbench.run(**small, out=tmp_path / "run"), first)
    assert mirror.seen == 0


def test_a_corrupted_part_is_computed_again(small, tmp_path):
    out = tmp_path / "run"
    first = arsbench.run(**small, out=out, batch=2)
    part = sorted((out / "parts").glob("*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:100])
    assert_same(arsbench.run(**small, out=out, batch=2), first)


def test_references_are_shared_across_runs(small, fake, tmp_path):
    small["manipulator"] = fake("Hashed")
    arsbench.run(**small, out=tmp_path / "first")
    mirror = arsbench.api.registry.find("manipulator", fake("Mirror")).cls
    mirror.seen = 0
    arsbench.run(**small | {"protector": "none"}, out=tmp_path / "second")
    assert mirror.seen == 5 * 4 * 3  # the controls alone: no reference is computed


def test_without_cache_references_are_computed(small, fake, tmp_path):
    small["manipulator"] = fake("Hashed")
    arsbench.run(**small, out=tmp_path / "first")
    mirror = arsbench.api.registry.find("manipulator", fake("Mirror")).cls
    mirror.seen = 0
    arsbench.run(**small | {"protector": "none"}, out=tmp_path / "second", cache=False)
    assert mirror.seen == 5 * (4 + 1) * 3


def test_a_corrupt_cache_entry_is_computed_again(small, fake, tmp_path, own_cache):
    small["manipulator"] = fake("Hashed")
    first = arsbench.run(**small, out=tmp_path / "first")
    entries = list(own_cache.glob("??/*/*.safetensors"))
    assert len(entries) == 5  # one batch: references at three severities, what went into them at two
    for entry in entries:
        entry.write_bytes(b"broken")
    assert_same(arsbench.run(**small, out=tmp_path / "second"), first)


def test_what_goes_into_a_reference_is_perturbed_once(small, fake, tmp_path):
    """Of the faces as they are: the second run perturbs the protected ones alone, and finds the same."""
    first = arsbench.run(**small, out=tmp_path / "first")
    with mock.patch.object(evaluate, "perturbed", wraps=evaluate.perturbed) as perturbed:
        assert_same(arsbench.run(**small, out=tmp_path / "second"), first)
    protectors = set(first.protector) - {"white"}
    assert perturbed.call_count == 2 * len(protectors)


def test_a_protector_that_fails_late_keeps_what_the_others_have(small, fake, tmp_path):
    with pytest.warns(UserWarning, match="protector 'late' failed: RuntimeError: not this one"):
        rows = arsbench.run(**small | {"protector": fake("FailsLate")}, out=tmp_path / "run", batch=2)
    assert set(rows.protector) == {"none", "noise", "brighten", "shade", "white"}
    assert (rows.groupby(["protector", "perturbation", "level"]).size() == 5).all()
    found = status(tmp_path / "run")
    assert (found.done, found.missing, found.failed) == (15, 0, 3)
