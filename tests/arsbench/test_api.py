from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.face_networks.loading import load_face_recogniser
from arsbench.faces.delivery import deliver
from arsbench.rows import COLUMNS
from arsbench.running import evaluate, store
from arsbench.running.provenance import git_revision

FAKES = Path(__file__).with_name("fakes.py")
X, KEYS = arsbench.load_faces(n=3)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    fakes = Path(__file__).with_name("fakes.py")
    out = tmp_path_factory.mktemp("api") / "run"
    rows = arsbench.run([f"{fakes}:Push"], f"{fakes}:Mirror", "jpeg", [5], images=3, out=out, cache=False)
    return rows, out


def test_import_is_light():
    script = "import arsbench, sys; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_an_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        arsbench.nothing  # noqa: B018


# --- run ---


def test_run_returns_one_row_per_image_and_cell(stored):
    rows, _ = stored
    assert len(rows) == 6 * 2 * 3
    assert list(rows.columns) == [c.name for c in COLUMNS]


def test_controls_are_in_every_run(stored):
    assert list(dict.fromkeys(stored[0].protector)) == ["push", "none", "noise", "brighten", "shade", "white"]


def test_identity_columns_say_how_far_the_output_is_from_the_face():
    rows = arsbench.run("none", "psp-recon", "none", images=2, identity=True)
    x, keys = arsbench.load_faces(n=2)
    with torch.no_grad():
        y = arsbench.load_manipulator("psp-recon").manipulate(x, keys).clamp(-1, 1)
        wanted = (load_face_recogniser()(y) - load_face_recogniser()(x)).norm(dim=1)
    assert rows[rows.protector == "none"].identity_distance.tolist() == pytest.approx(wanted.tolist(), rel=1e-3)


def test_a_run_without_identity_columns_is_not_continued_with_them(tmp_path):
    arsbench.run("none", "psp-recon", "none", images=1, out=tmp_path / "run")
    with pytest.raises(ArsbenchError, match="identity"):
        arsbench.run("none", "psp-recon", "none", images=1, out=tmp_path / "run", identity=True)


def test_run_returns_what_it_stores(stored):
    rows, out = stored
    assert store.read_rows(out).equals(rows)


def test_the_manifest_says_what_ran(stored):
    manifest = json.loads((stored[1] / "manifest.json").read_text())
    assert manifest["protocol"]["hash"] == manifest["protocol_hash"]
    assert manifest["track"] == "open"
    assert manifest["names"]["manipulators"] == ["mirror"]
    assert {"python", "torch", "kornia", "lpips", "piq"} <= manifest["versions"].keys()
    assert manifest["seeds"] == {"run": 0}
    assert manifest["device"]["type"] == "cpu"
    assert manifest["precision"] == "float32"
    assert manifest["weights_sha256"].keys() == {"lpips"}
    assert manifest["starts"][0] <= manifest["ended"]
    assert manifest["void"] == {"mirror": {"void": False, "reason": ""}}
    assert manifest["failures"] == []
    assert manifest["state"] == "finished"
    assert "git_revision" in manifest


def test_bfloat16_is_near_float32_and_said(fake, tmp_path):
    settings = {"protector": "brighten", "manipulator": "psp-recon", "perturbation": "jpeg", "level": "5", "images": 2}
    exact = arsbench.run(**settings)
    rows = arsbench.run(**settings, precision="bfloat16", out=tmp_path / "run")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["precision"] == "bfloat16"
    assert not rows.mse.equals(exact.mse)
    assert (rows.lpips - exact.lpips).abs().max() < 0.02
    with pytest.raises(ArsbenchError, match="another run"):
        arsbench.run(**settings, out=tmp_path / "run")


@pytest.mark.parametrize(
    "more",
    [{"protector": ["none", "fgsm"]}, {"images": 3}, {"level": "0,3,5"}, {"perturbation": "jpeg,contrast"}],
    ids=["protector", "images", "level", "perturbation"],
)
def test_a_run_that_is_a_part_is_added_to(more, tmp_path):
    hashed = f"{FAKES}:Hashed"
    part = {"protector": "none", "manipulator": hashed, "perturbation": "jpeg", "level": "0,5", "images": 2}
    fresh = arsbench.run(**part | more)
    arsbench.run(**part, out=tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "parts").iterdir()}
    added = arsbench.run(**part | more, out=tmp_path / "run")
    assert added.mse.equals(fresh.mse)
    # LPIPS rounds otherwise in a batch of another size.
    pd.testing.assert_frame_equal(added.drop(columns="seconds"), fresh.drop(columns="seconds"), rtol=0, atol=1e-6)
    assert before.items() <= {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "parts").iterdir()}.items()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert len(manifest["plan"]["cells"]) * len(manifest["plan"]["images"]) == len(fresh)


def test_adding_a_protector_computes_nothing_else(tmp_path, monkeypatch):
    part = {"manipulator": f"{FAKES}:Hashed", "perturbation": "jpeg", "level": "0,5", "images": 2, "out": tmp_path}
    arsbench.run(protector="none", **part)
    manipulate, passes = evaluate.manipulate, []

    def counted(bench, x, *rest, **named):
        passes.append(len(x))
        return manipulate(bench, x, *rest, **named)

    monkeypatch.setattr(evaluate, "manipulate", counted)
    arsbench.run(protector="fgsm", **part)
    assert passes == [2, 2]


@pytest.mark.parametrize(
    ("less", "said"),
    [
        ({"images": 1}, "other images: 2 there, 1 here"),
        ({"level": "0"}, r"other perturbations or levels \(name those there, too"),
        ({"protector": "none"}, r"protectors: fgsm, none.* there, none.* here \(name those there, too"),
        ({"protector": "fgsm,eot_pgd", "seed": 1}, "seed: 0 there, 1 here"),
    ],
)
def test_a_run_with_less_is_another_run(less, said, tmp_path):
    part = {"manipulator": f"{FAKES}:Hashed", "perturbation": "jpeg", "level": "0,5", "images": 2, "out": tmp_path}
    arsbench.run(protector="fgsm", **part)
    with pytest.raises(ArsbenchError, match=f"another run: {said}"):
        arsbench.run(**{"protector": "fgsm", **part, **less})


def test_an_unknown_precision_is_one_sentence(small):
    with pytest.raises(ArsbenchError, match=r"unknown precision 'float16'.*bfloat16"):
        arsbench.run(**small | {"precision": "float16"})


def test_reports_lie_in_the_folder(stored):
    assert (stored[1] / "summary.csv").is_file()
    assert (stored[1] / "tables" / "leaderboard.md").is_file()
    assert (stored[1] / "figures" / "figure5.png").is_file()


def test_without_out_nothing_is_left(small, tmp_path, monkeypatch, own_cache):
    monkeypatch.chdir(tmp_path)
    arsbench.run(**small | {"images": 1})
    assert list(tmp_path.iterdir()) == []
    assert not own_cache.exists()


def test_an_own_folder_of_pictures(fake, small, tmp_path):
    from PIL import Image

    Image.new("RGB", (90, 70), "teal").save(tmp_path / "a.png")
    Image.effect_noise((64, 64), 60).save(tmp_path / "b.png")
    rows = arsbench.run(**small, faces=tmp_path)
    assert set(rows.image) == {"a.png", "b.png"}


@pytest.mark.parametrize(
    ("manipulator", "reason"), [("Dice", "'none' reaches"), ("Loud", "'noise' reaches an SR of 1")]
)
def test_a_run_whose_controls_miss_is_void(small, fake, tmp_path, manipulator, reason):
    with pytest.warns(UserWarning, match="the run is void"):
        rows = arsbench.run(**small | {"manipulator": fake(manipulator)}, out=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert reason in manifest["void"][manipulator.lower()]["reason"]
    assert reason in rows.attrs["void"][manipulator.lower()]
    assert (tmp_path / "run" / "summary.csv").is_file()


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0},
        {"images": 10**6},
        {"epsilon": -1},
        {"epsilon": float("nan")},
        {"device": "tpu"},
        {"device": "cuda:99"},
        {"level": 9},
        {"track": "opne"},
        {"track": "paper"},
        {"batch": 0},
        {"seed": 0.5},
        {"perturbation": "jpg"},
        {"faces": "/nowhere"},
    ],
)
def test_wrong_values_are_one_sentence(small, wrong):
    with pytest.raises(ArsbenchError) as caught:
        arsbench.run(**small | wrong)
    assert "\n" not in str(caught.value)


def test_an_unwritable_folder_is_found_before_computing(small, fake, tmp_path):
    (tmp_path / "file").write_text("")
    mirror = arsbench.api.registry.find("manipulator", fake("Mirror")).cls
    mirror.seen = 0
    with pytest.raises(ArsbenchError, match="cannot be written"):
        arsbench.run(**small, out=tmp_path / "file" / "run")
    assert mirror.seen == 0


def test_bad_input_leaves_no_folder(small, tmp_path):
    with pytest.raises(ArsbenchError):
        arsbench.run(**small | {"protector": "fgms"}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unwritable_cache_is_no_obstacle(small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(arsbench.run(**small | {"images": 1}, out=tmp_path / "run")) == 18


# --- parts ---


def test_a_protector_against_an_object(fake):
    model = arsbench.load_manipulator(fake("Mirror"))
    assert arsbench.load_protector(fake("Push"), model, 0.1).manipulator is model


def test_a_protector_against_a_name(fake):
    made = arsbench.load_protector(fake("Push"), fake("Mirror"), epsilon=0.1)
    assert made.protect(X, KEYS).sub(X).abs().max() <= 0.1 + 1e-6


def test_a_manipulator_gets_the_condition_faces(fake):
    model = arsbench.load_manipulator(fake("Mirror"))
    assert model.condition_faces.shape == (16, 3, 64, 64)
    assert len(model.condition_keys) == 16


def test_a_manipulator_with_a_constructor_of_its_own(fake):
    model = arsbench.load_manipulator(fake("Plain"), condition="random")
    assert (model.gain, model.condition, len(model.condition_keys)) == (0.5, "random", 16)


@pytest.mark.parametrize("name", ["psp", "", "fgsm"])
def test_an_unknown_manipulator(name):
    with pytest.raises(ArsbenchError, match="unknown manipulator"):
        arsbench.load_manipulator(name)


def test_a_manipulator_of_another_track(fake):
    with pytest.raises(ArsbenchError, match="is of track 'open', not 'paper'"):
        arsbench.load_manipulator(fake("Mirror"), track="paper")


def test_perturb_delivers():
    made = arsbench.perturb(X, "gaussian_blur", 3, KEYS)
    assert torch.equal(deliver(made), made)


def test_perturb_at_level_zero_is_delivery_alone():
    x = X + 0.001
    assert torch.equal(arsbench.perturb(x, "jpeg", 0, KEYS), deliver(x))


def test_perturb_does_not_depend_on_the_batch():
    together = arsbench.perturb(X, "dropout", 5, KEYS)
    assert torch.equal(arsbench.perturb(X[1:2], "dropout", 5, KEYS[1:2]), together[1:2])


@pytest.mark.parametrize(
    "arguments",
    [
        (X, "jpeg", 6, KEYS),
        (X, "jpeg", -1, KEYS),
        (X, "jpeg", "5", KEYS),
        (X, "jpg", 5, KEYS),
        (X, "none", 1, KEYS),
        (X, "jpeg", 5, KEYS[:2]),
        (X, "jpeg", 5, "abc"),
        (X[0], "jpeg", 5, KEYS),
        (X * float("nan"), "jpeg", 5, KEYS),
        (X.numpy(), "jpeg", 5, KEYS),
        (X, "jpeg", 5, KEYS, "opne"),
    ],
)
def test_perturb_refuses(arguments):
    with pytest.raises(ArsbenchError):
        arsbench.perturb(*arguments)


def test_score_leaves_out_what_lacks_its_inputs():
    assert "amplification" not in arsbench.score(X, X)


@pytest.mark.parametrize("wrong", [None, X[0], X[:, :2], X.numpy(), X * float("nan"), X.byte(), X[:0]])
def test_score_refuses(wrong):
    with pytest.raises(ArsbenchError):
        arsbench.score(X, wrong)


@pytest.mark.parametrize("n", [0, -1, 10**6, "3", 1.5])
def test_load_faces_refuses(n):
    with pytest.raises(ArsbenchError):
        arsbench.load_faces(n=n)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs a POSIX system")
def test_git_revision_never_fails(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_revision() is None or len(git_revision()) >= 40


NAMES = ("y", "y_p", "x", "x_p", "y_clean", "px", "px_p")


@pytest.mark.parametrize(("scale", "looks"), [(1, r"\[0, 1\]"), (255, r"\[0, 255\]")])
@pytest.mark.parametrize("wrong", [NAMES, *((name,) for name in NAMES)])
def test_score_refuses_pictures_of_another_range(scale, looks, wrong):
    given = dict.fromkeys(NAMES, X)
    # A photograph has black and white in it.
    photo = (X - X.min()) / (X.max() - X.min()) * scale
    with pytest.raises(ArsbenchError, match=rf"({'|'.join(wrong)}) looks like {looks}; give pictures in \[-1, 1\]"):
        arsbench.score(**given | dict.fromkeys(wrong, photo))


@pytest.mark.parametrize("wrong", ["x", "x_p", "px", "px_p"])
def test_score_refuses_one_dull_input_of_another_range(wrong):
    dull = 0.8 * X.clamp(-0.9, 0.9)  # neither black nor white
    with pytest.raises(ArsbenchError, match=r"looks like \[0, 1\]; give pictures in \[-1, 1\]"):
        arsbench.score(**dict.fromkeys(NAMES, dull) | {wrong: (dull + 1) / 2})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_score_computes_in_float32_whatever_float_is_given(dtype):
    y, y_p = X.to(dtype), (0.8 * X).to(dtype)
    expected = arsbench.score(y.float(), y_p.float())
    for name, values in arsbench.score(y, y_p).items():
        torch.testing.assert_close(values, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("y_p", [torch.ones_like(X), torch.zeros_like(X), X * 1.4, X.clamp(min=0.2)])
def test_score_takes_white_grey_raw_and_bright_outputs(y_p):
    assert "mse" in arsbench.score(X, y_p)


def test_perturb_refuses_pictures_in_bytes():
    with pytest.raises(ArsbenchError, match=r"x looks like \[0, 255\]"):
        arsbench.perturb((X + 1) * 127.5, "jpeg", 3, KEYS)
