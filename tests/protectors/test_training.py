"""The trainings of the learned protectors: resuming, what they may meet, what they leave."""

from __future__ import annotations

import csv
import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import arsbench
from arsbench.contracts import Manipulator, Pair
from arsbench.faces.shipped import training_faces
from arsbench.protectors.ars import ARS, ARSTuned, ARSWhite
from arsbench.protectors.ars_ablations import ARSBasic, ARSBasicWithRobust, ARSNonLossy, ARSWithoutAdv
from arsbench.protectors.learned import WEIGHTS
from arsbench.protectors.networks.ars import ArsNetwork
from arsbench.protectors.networks.tafim import TafimNetwork
from arsbench.protectors.random_perturbation import SIX
from arsbench.protectors.tafim import Tafim
from arsbench.protectors.training.ars import FURTHER, Away, White, faded
from arsbench.protectors.training.loop import Part
from arsbench.protectors.training.tuned import Tuned
from arsbench.scoring.metrics import METRICS
from arsbench.scoring.sr_strict import StrictSuccessRate
from arsbench.training.job import TrainingJob
from arsbench.training.run import trainer_of

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
ABLATIONS = [ARSBasic, ARSBasicWithRobust, ARSNonLossy, ARSWithoutAdv]


class Half(Manipulator):
    name = "half"

    def manipulate(self, x, keys):
        return 0.5 * x.flip(-1)


def job(folder, steps, seed=0):
    return TrainingJob(
        faces=training_faces,
        latents=lambda first, count: torch.zeros(count, 100),
        collage=lambda outer, inner: torch.zeros(len(outer), 3, 64, 64),
        validation=(training_faces(100, 4)[0], ["a", "b", "c", "d"]),
        perceptual=torch.nn.Identity(),
        metrics={m.name: m() for m in METRICS if m.name != "lpips"},
        folder=folder,
        steps=steps,
        batch=4,
        seed=seed,
    )


def train(method, work):
    return trainer_of("protector", method)(work, Half())


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    monkeypatch.setattr(ARS, "build", classmethod(lambda cls, track: ArsNetwork(4, 4, cls.bound, cls.two_way)))
    monkeypatch.setattr(Tafim, "build", classmethod(lambda cls, track: TafimNetwork(64, 2)))


@pytest.mark.parametrize(("capability", "computed_in"), [("AVX2", torch.float32), ("AVX512", torch.bfloat16)])
def test_a_cpu_without_avx_512_trains_in_float32(tmp_path, monkeypatch, capability, computed_in):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with job(tmp_path, 1).autocast():
        assert torch.nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == computed_in


@pytest.mark.parametrize("method", [ARS, ARSWhite, ARSTuned, Tafim])
def test_training_resumed_equals_training_in_one_go(method, tmp_path, monkeypatch):
    monkeypatch.setattr("arsbench.protectors.training.loop.CHECKPOINT_EVERY", 2)
    monkeypatch.setattr("arsbench.protectors.training.loop.VALIDATE_EVERY", 2)
    whole = train(method, job(tmp_path / "whole", 4))

    class Stop(Exception):
        pass

    def stop(step, reached):
        if step == 3:
            raise Stop

    halted = job(tmp_path / "halted", 4)
    halted.report = stop
    with pytest.raises(Stop):
        train(method, halted)
    resumed = train(method, job(tmp_path / "halted", 4))
    assert resumed.read_bytes() == whole.read_bytes()
    for left in ("curve.csv", "curve.png"):
        assert (tmp_path / "halted" / left).read_bytes() == (tmp_path / "whole" / left).read_bytes()


KILLED = """
import sys
from pathlib import Path
from arsbench.running.progress import NoProgress
from arsbench.training import run as training
from arsbench.protectors.training import loop

class Told(NoProgress):
    def advance(self, steps=1, now=""):
        print("step", flush=True)

training.VALIDATION_FACES = 2
loop.CHECKPOINT_EVERY = 2
print(training.train("ars", "psp-mix", "open", steps=6, batch=2, out=Path(sys.argv[1]), progress=Told()))
"""


@pytest.mark.slow
def test_training_killed_and_started_again_gives_the_same_weights_to_the_bit(tmp_path):
    def start(folder):
        command = [sys.executable, "-c", KILLED, str(tmp_path / folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    whole = Path(start("whole").communicate()[0].split()[-1])
    killed = start("killed")
    for _ in range(3):
        assert killed.stdout.readline() == "step\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not list((tmp_path / "killed").glob("*.safetensors"))
    again = start("killed").communicate()[0].split()
    assert again.count("step") < 6
    assert (tmp_path / "killed" / whole.name).read_bytes() == whole.read_bytes()


def steps_of(objective, method, folder, n):
    network = method.build("open").train()
    optimizer = torch.optim.Adam(network.parameters())
    return [objective.step(network, optimizer, *training_faces(4 * at, 4), at) for at in range(n)]


@pytest.fixture
def _the_six_cannot_be_met(monkeypatch):
    def met(self, x, parameter, keys):
        raise AssertionError(f"{self.name} was met in training")

    for kind in SIX:
        monkeypatch.setattr(kind, "perturb", met)
        monkeypatch.setattr(kind, "differentiable", met)


@pytest.mark.usefixtures("_the_six_cannot_be_met")
def test_ars_trains_without_the_board_s_perturbations(tmp_path):
    reached = steps_of(Away(Half(), job(tmp_path, 8), ARS), ARS, tmp_path, 8)
    assert "phi" not in reached[0]
    assert "phi" in reached[-1]


def test_from_weights_ars_gains_nothing_beyond_enough(tmp_path):
    objective = Away(Half(), dataclasses.replace(job(tmp_path, 4), start=(tmp_path, "weights")), ARS)
    y, x = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    moved = torch.stack([torch.full((3, 8, 8), far) for far in (0.3, 0.6)])
    near, far = objective.distance(moved, y)
    assert near == pytest.approx(10 * 0.09)
    assert far == pytest.approx(10 * FURTHER.distance_enough)
    louder, quieter = objective.gain(Pair(y, moved[1:].expand(2, -1, -1, -1), px=x, px_p=moved / 6))
    assert louder == quieter


def test_colours_count_for_their_share():
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(faded(red, 0.0), torch.full((1, 1, 1, 1), 0.299))
    torch.testing.assert_close(faded(red, 0.4).flatten(), torch.tensor([0.4 + 0.6 * 0.299, 0.6 * 0.299, 0.6 * 0.299]))


@pytest.mark.usefixtures("_the_six_cannot_be_met")
def test_ars_tuned_does_not(tmp_path):
    with pytest.raises(AssertionError, match="was met in training"):
        steps_of(Tuned(Half(), job(tmp_path, 8)), ARSTuned, tmp_path, 8)


@pytest.mark.parametrize("method", ABLATIONS)
def test_an_ablation_leaves_out_what_it_says(method, tmp_path):
    met = []
    objective = Away(Half(), job(tmp_path, 4), method)
    objective.stage = dataclasses.replace(objective.stage, quarters=(lambda x_p, x, draws: met.append("p") or x_p,) * 4)
    reached = steps_of(objective, method, tmp_path, 4)
    assert bool(met) == method.perturbed
    assert ("phi" in reached[-1]) == method.adversarial
    assert ("gain_basic" in reached[0]) == method.two_way
    names = {name.split(".")[0] for name, _ in method.build("open").named_parameters()}
    assert names == ({"f", "g1", "g_n", "g2"} if method.two_way else {"f"})


def test_f_is_left_as_it_is_after_the_first_part(tmp_path):
    work = job(tmp_path, 10)
    network = ARS.build("open").train()
    optimizer = torch.optim.Adam(network.parameters())
    objective = Away(Half(), work, ARS)

    def f():
        return torch.cat([tensor.flatten().double() for tensor in network.f.state_dict().values()])

    at_first = f()
    objective.step(network, optimizer, *training_faces(0, 4), 0)
    trained = f()
    objective.step(network, optimizer, *training_faces(4, 4), 9)
    assert not torch.equal(at_first, trained)
    assert torch.equal(trained, f())


def test_q_learns_to_restore_and_its_step_does_not_touch_the_protection(tmp_path):
    objective = Away(Half(), job(tmp_path, 1), ARS)
    objective.adversary_optimizer = torch.optim.Adam(objective.adversary.parameters(), 1e-2)
    x, keys = training_faces(0, 4)
    x_p = (x + 0.3 * torch.ones_like(x)).clamp(-1, 1).requires_grad_()
    phi = []
    for at in range(30):
        term, reached = objective._undo(x_p, Half().manipulate(x, keys), keys)
        term.backward()
        objective.follow(at)
        phi.append(reached)
    assert phi[-1] < 0.5 * phi[0]
    assert x_p.grad is not None


def test_ars_is_made_as_loud_as_holds_best_on_the_validation_faces(tmp_path):
    network = ARS.build("open").requires_grad_(False)
    before = network.g2.exit.weight.clone()

    def measure(made):
        factor = float(made.g2.exit.weight.abs().sum() / before.abs().sum())
        reached = {"none": factor, "jpeg": 1 - abs(factor - 1.4)}
        return [{"perturbation": name, "sr_strict": value} for name, value in reached.items()]

    said = Away(Half(), job(tmp_path, 1), ARS).finish(network, measure)
    torch.testing.assert_close(network.g2.exit.weight, 1.4 * before)
    assert "1.4" in said


def test_towards_white_the_noise_stays_as_trained(tmp_path):
    network = ARS.build("open")
    before = network.g2.exit.weight.clone()
    assert not White(Half(), job(tmp_path, 1), ARSWhite).finish(network, lambda made: [])
    assert torch.equal(network.g2.exit.weight, before)


@pytest.mark.parametrize(("epsilon", "weight"), [(0.1, 10.0), (0.3, 10 / 9)])
def test_the_largest_noise_costs_the_same_at_every_budget(tmp_path, epsilon, weight):
    work = job(tmp_path, 1)
    work.epsilon = epsilon
    assert Away(Half(), work, ARS).noise_weight(10.0) == pytest.approx(weight)


def gradient(part_, accumulate, checkpointing, tmp_path, folder):
    """The gradient that one step of a loss without draws hands to the optimiser."""

    class Plain(Tuned):
        part = part_

    work = dataclasses.replace(job(tmp_path / folder, 1), accumulate=accumulate, checkpointing=checkpointing)
    torch.manual_seed(0)
    network = ArsNetwork(8, 4, "tanh").eval()  # batch normalisation in training sees the parts
    x, keys = training_faces(0, 4)
    Plain(Half(), work).step(network, torch.optim.SGD(network.parameters(), 0.0), x, keys, 0)
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize(("accumulate", "checkpointing"), [(2, False), (3, False), (1, True), (4, True)])
def test_parts_of_a_batch_and_checkpointing_change_memory_and_no_gradient(accumulate, checkpointing, tmp_path):
    def without_draws(self, network, x, keys, at, draws):
        y_p = self.manipulate((x + self.noises(network, x)[-1]).clamp(-1, 1), keys)
        return Part(len(x), -(y_p - x).square().mean())

    whole = gradient(without_draws, 1, False, tmp_path, "whole")
    parts = gradient(without_draws, accumulate, checkpointing, tmp_path, "parts")
    assert whole.abs().max() > 0
    torch.testing.assert_close(parts, whole, rtol=0, atol=0.02 * float(whole.abs().max()))


@pytest.mark.parametrize("method", [ARS, ARSTuned, Tafim])
def test_training_in_parts_runs_through(method, tmp_path):
    path = train(method, dataclasses.replace(job(tmp_path, 2), accumulate=2, checkpointing=True))
    assert "--accumulate 2" in json.loads(path.with_suffix(".json").read_text())["command"]


def pair_of(mse, unrecovered, amplification):
    """One whose metrics are these: a pattern turned towards another by what is lost, then made brighter."""
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    one, other = (0.2 * (-1.0) ** axis.expand(1, 3, 32, 32) for axis in (rows, columns))
    turned = (1 - unrecovered) ** 0.5 * one + unrecovered**0.5 * other
    brighter = (mse - (turned - one).square().mean()).sqrt()
    x = torch.zeros_like(one)
    return Pair(one, turned + brighter, px=x, px_p=x + (mse / amplification) ** 0.5)


@pytest.mark.parametrize(
    ("below", "above"),
    [((0.045, 0.4, 2.0), (0.075, 0.4, 2.0)), ((0.1, 0.2, 2.0), (0.1, 0.35, 2.0)), ((0.1, 0.4, 0.9), (0.1, 0.4, 1.4))],
    ids=["mse", "unrecovered", "amplification"],
)
def test_to_pass_a_threshold_of_sr_strict_gains_more_than_anything_beyond_all_three(tmp_path, below, above):
    objective = Tuned(Half(), job(tmp_path, 1))
    pairs = [pair_of(*each) for each in (below, above, (0.1, 0.45, 2.0), (0.3, 0.9, 3.0))]
    assert [float(StrictSuccessRate().measure(pair)) for pair in pairs] == [0, 1, 1, 1]
    failed, passed, plain, extreme = (float(objective._gain(pair)) for pair in pairs)
    assert passed - failed > 1.5 * (extreme - plain)


@pytest.mark.parametrize("method", [ARS, Tafim])
def test_training_leaves_a_log_a_curve_and_a_card(method, tmp_path):
    path = train(method, job(tmp_path, 1))
    card = json.loads(path.with_suffix(".json").read_text())
    assert {"data", "recipe", "revision", "command", "reached", "licence", "sha256"} <= card.keys()
    assert json.loads((tmp_path / "log.jsonl").read_text())["step"] == 1
    rows = list(csv.DictReader((tmp_path / "curve.csv").open()))
    assert {row["perturbation"] for row in rows} == {"none", *(kind.name for kind in SIX)}
    assert {"faces", "sr", "sr_strict", "amplification", "noise_mse"} <= rows[0].keys()
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_one_s_own_weights_are_used_when_their_folder_is_named(tmp_path, monkeypatch):
    train(ARS, job(tmp_path, 1))
    monkeypatch.setenv("ARSBENCH_WEIGHTS", str(tmp_path))
    assert ARS(Half(), 0.3).protect(X, ["a", "b"]).shape == X.shape


@pytest.mark.parametrize("card", sorted(WEIGHTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_shipped_card_names_the_manipulator_that_ships(card):
    _, manipulator, track = card.stem.split("--")
    assert json.loads(card.read_text())["manipulator_sha256"] == (
        arsbench.load_manipulator(manipulator, track=track).weights_sha256
    )
