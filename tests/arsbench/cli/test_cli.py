from __future__ import annotations

import hashlib
import json
import pickle
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from arsbench.cards import weights_file
from arsbench.cli import commands, execute_command
from arsbench.manipulators.psp import PspRecon


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """``cli("status", run)`` -> exit code, stdout, stderr, in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = execute_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def options(small, **changes):
    return [part for name, value in (small | changes).items() for part in (f"--{name.replace('_', '-')}", value)]


@pytest.mark.parametrize("command", [(), *((name,) for name in commands.commands)])
def test_every_command_has_help_with_an_example(cli, command):
    code, out, _ = cli(*command, "--help")
    assert code == 0
    assert "Example:  arsbench" in out


def test_run_prints_table_figure_and_folder(cli, small, tmp_path):
    code, out, _ = cli("run", *options(small, images=2))
    assert code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert "push" in out
    assert f"run: runs/{run.name}" in out
    assert f"figure: runs/{run.name}/figures/figure5.png" in out


def test_run_resumes_by_itself(cli, small, fake, tmp_path):
    cli("run", *options(small, images=2))
    cli("run", *options(small, images=2))
    (run,) = (tmp_path / "runs").iterdir()
    assert len(list((run / "parts").glob("*.parquet"))) == 1
    assert len(json.loads((run / "manifest.json").read_text())["starts"]) == 2


def test_a_run_that_was_laid_out_is_worked_on_by_its_folder_alone(cli, small):
    code, out, _ = cli("run", *options(small, perturbation="none", images=2, batch=1, out="here"), "--plan-only")
    assert (code, out) == (0, "6 cells of 2 images are laid out; nothing is computed yet\nrun: here\n")
    code, out, _ = cli("work", "here", "--shard", "1/2")
    assert (code, out) == (0, "nothing is left to do here; arsbench status here tells of the run\n")
    assert cli("status", "here")[1] == "0 cells done, 6 missing, 0 failed\n6 of 12 rows; planned\n"
    code, out, _ = cli("work", "here")
    assert code == 0
    assert "push" in out
    assert "12 of 12 rows; finished" in cli("status", "here")[1]


def test_status_table_and_plot(cli, small, tmp_path):
    cli("run", *options(small, images=2, out="here"))
    assert json.loads(cli("status", "here", "--json")[1])["done"] == 18
    assert "18 cells done, 0 missing, 0 failed" in cli("status", "here")[1]
    assert "push" in cli("table", "leaderboard", "here", "--format", "csv")[1]
    code, _, _ = cli("plot", "figure5", "here", "--format", "svg")
    assert code == 0
    assert (tmp_path / "here" / "figures" / "figure5.svg").is_file()


def test_a_void_run_is_a_finding(cli, small, fake, tmp_path):
    code, out, err = cli("run", *options(small, images=2, manipulator=fake("Loud"), out="here"))
    assert code == 1
    assert "arsbench: the run is void for manipulator 'loud'" in err
    assert (tmp_path / "here" / "summary.csv").is_file()
    assert "run: here" in out


@pytest.mark.parametrize("protector", ["OverBudget", "NotANumber", "WrongShape", "Raises", "Closes"])
def test_a_failing_protector_exits_2_and_the_others_finish(cli, small, fake, protector):
    code, out, err = cli("run", *options(small, images=2, protector=fake(protector), out="here"))
    assert code == 2
    assert len([line for line in err.splitlines() if line.startswith("arsbench: ")]) == 1
    assert "Traceback" not in err
    assert "brighten" in out
    assert json.loads(cli("status", "here", "--json")[1])["failed"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--protector", "fgms"], "did you mean fgsm"),
        (["run", "--images", "0"], "images is 0"),
        (["run", "--images", "some"], "--images"),
        (["run", "--epsilon", "-0.1"], "epsilon is -0.1"),
        (["run", "--epsilon", "nan"], "epsilon is nan"),
        (["run", "--device", "tpu"], "unknown device 'tpu'"),
        (["run", "--level", "9"], "'9' is not a level"),
        (["run", "--track", "opne"], "did you mean open"),
        (["run", "--protector", "nowhere.py:P"], "does not exist"),
        (["run", "--perturbation", "jpg"], "did you mean jpeg"),
        (["rnu"], "did you mean run"),
        (["run", "--protectr", "x"], "--protector"),
        (["status", "nowhere"], "is not a run"),
        (["table", "leaderboard", "nowhere"], "is not a run"),
        (["list"], "Choose from: protectors, perturbations"),
        (["list", "protector"], "protectors"),
        (["train", "fgsm"], "has nothing to train"),
        (["train", "arss"], "did you mean"),
    ],
)
def test_bad_input_is_one_sentence_and_2(cli, arguments, said):
    code, out, err = cli(*arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_an_unwritable_output_folder(cli, small, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = cli("run", *options(small, out="file/run"))
    assert code == 2
    assert err == "arsbench: the output folder file/run cannot be written (Not a directory); give another --out\n"


def test_an_unwritable_default_folder(cli, small, tmp_path):
    (tmp_path / "runs").write_text("")
    code, _, err = cli("run", *options(small))
    assert code == 2
    assert err.count("\n") == 1


def test_a_full_disk_is_one_sentence(cli, small, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("arsbench.running.store.RunFolder.append", full)
    code, _, err = cli("run", *options(small, images=1, out="here"))
    assert code == 2
    assert "No space left on device (what was stored before is kept; the same command goes on)" in err


def test_an_error_of_ours_shows_no_traceback(cli, monkeypatch):
    monkeypatch.setattr("arsbench.cli.doctor.checks", lambda: 1 / 0)
    code, _, err = cli("doctor")
    assert code == 2
    assert err.count("\n") == 1


def test_list_json_names_everything(cli):
    names = [entry["name"] for entry in json.loads(cli("list", "perturbations", "--json")[1])]
    assert names[:6] == ["saturation", "contrast", "dropout", "gaussian_blur", "downscale", "jpeg"]
    assert {"webp", "df_jpeg", "denoiser"} <= set(names)


@pytest.mark.parametrize("kind", ["protectors", "manipulators", "tracks"])
def test_list(cli, kind):
    code, out, _ = cli("list", kind)
    assert code == 0
    assert len(out.splitlines()) >= 2


def test_list_manipulators_says_which_weights_under_which_licence_and_whether_ready(cli):
    entries = {(e["name"], e["track"]): e for e in json.loads(cli("list", "manipulators", "--json")[1])}
    recon = entries["psp-recon", "open"]
    card = json.loads(weights_file(PspRecon.weights_files[0]).with_suffix(".json").read_text())
    assert (recon["track"], recon["size"], recon["ready"]) == ("open", 64, True)
    assert [(w["sha256"], w["licence"]) for w in recon["weights"]] == [(card["sha256"], "MIT")]
    line = next(line for line in cli("list", "manipulators")[1].splitlines() if line.startswith("psp-recon "))
    assert line.split()[1:6] == ["open", "64", "x", "64", card["sha256"][:8]]
    assert entries["psp-recon", "paper"]["missing"] == ["psp"]


def test_a_manipulator_without_its_weights_is_listed_as_not_ready(cli, monkeypatch, tmp_path):
    monkeypatch.setattr("arsbench.cards.weights_file", lambda file: tmp_path / str(file).rpartition("/")[2])
    entry = next(e for e in json.loads(cli("list", "manipulators", "--json")[1]) if e["name"] == "psp-recon")
    assert entry["ready"] is False
    assert "  not ready  " in cli("list", "manipulators")[1]


def test_a_checkpoint_that_would_run_code_is_one_sentence(cli, tmp_path):
    class Hostile:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'mark')!r}, 'w')",)

    (tmp_path / "psp.pt").write_bytes(pickle.dumps(Hostile()))
    code, _, err = cli("checkpoints", "add", "psp", "psp.pt")
    assert code == 2
    assert err.count("\n") == 1
    assert "is refused" in err
    assert not (tmp_path / "mark").exists()


def test_checkpoints_verify_finds_what_is_damaged(cli, own_cache):
    folder = own_cache.parent / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "arcface.safetensors").write_bytes(b"weights")
    (folder / "arcface.json").write_text(
        json.dumps({"sha256": hashlib.sha256(b"weights").hexdigest(), "source": "a.tar"})
    )
    assert cli("checkpoints", "verify")[:2] == (0, "ok  arcface\n")
    assert "from a.tar" in cli("checkpoints", "list")[1]
    (folder / "arcface.safetensors").write_bytes(b"Weights")
    code, out, _ = cli("checkpoints", "verify")
    assert code == 1
    assert out.startswith("!!  arcface: ")


def test_data_add_divides_a_folder(cli, tmp_path):
    for i in range(28):
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / f"{i}.png")
    code, out, _ = cli("data", "add", "ffhq", tmp_path)
    assert code == 0
    assert out.startswith("ffhq: 20 train, 4 val, 4 test")
    assert cli("data", "list")[1] == out


def test_doctor_fits_one_screen(cli):
    code, out, _ = cli("doctor")
    assert code == 0
    assert len(out.splitlines()) < 40
    assert "torchvision import" in out


def test_doctor_finds_damaged_weights(cli, monkeypatch, tmp_path):
    from arsbench.cli import doctor

    (tmp_path / "shipped").mkdir()
    well = hashlib.sha256(b"x").hexdigest()
    for name, digest in {"ars--a": well, "ars--b": "0", "ars--c": well, "w": well}.items():
        (tmp_path / "shipped" / f"{name}.safetensors").write_bytes(b"x")
        (tmp_path / "shipped" / f"{name}.json").write_text(json.dumps({"sha256": digest}))
    monkeypatch.setattr(doctor, "files", lambda package: tmp_path)
    monkeypatch.setattr(doctor, "WEIGHT_FOLDERS", (("arsbench", "shipped"),))
    code, out, _ = cli("doctor")
    assert code == 1
    shown = [line.split()[:3] for line in out.splitlines() if "SHA-256" in line]
    assert shown == [["ok", "ars", "2"], ["!!", "ars--b", "damaged:"], ["ok", "w", "0.0"]]


def test_interrupted_says_how_to_go_on(fake, tmp_path):
    command = [sys.executable, "-m", "arsbench", "run", "--protector", fake("Push"), "--manipulator", fake("Slow")]
    command += ["--perturbation", "dropout", "--images", "200", "--batch", "1", "--out", "here", "--no-cache"]
    # A shell's background jobs ignore SIGINT, and so would all that is started from one.
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not list(tmp_path.glob("here/parts/*.parquet")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    said = "arsbench: interrupted; what was computed is in here, the same command goes on from there"
    assert err.splitlines()[-1] == said
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [("run", "--protector", "none", "--out", ""), ("status", ""), ("protect", "")])
def test_an_empty_path_is_not_the_folder_one_stands_in(cli, words):
    code, _, err = cli(*words)
    assert code == 2
    assert err.count("\n") == 1
    assert "the path is empty" in err
