from __future__ import annotations

import pytest
import torch

import arsbench
from arsbench.contracts import ArsbenchError, Manipulator, Pair, Protector
from arsbench.photos import attack
from arsbench.photos.attack import ensemble_noise, success
from arsbench.photos.enlarge import Seen
from arsbench.photos.noise import Gathered, noise_for
from arsbench.scoring.sr_strict import StrictSuccessRate

EPSILON = 0.3
SEEN = Seen(64, 200, 200, (False,) * 4, EPSILON)


@pytest.fixture(scope="module")
def faces():
    return arsbench.load_faces(n=2)


@pytest.fixture(scope="module")
def pair():
    return [arsbench.load_manipulator(name) for name in ("psp-recon", "psp-mix")]


def test_a_positive_success_is_what_sr_strict_asks_for(faces, pair):
    x, keys = arsbench.load_faces(n=12)
    x_p = (x + 0.3 * torch.sign(torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))).clamp(-1, 1)
    x_p[:6] = arsbench.load_protector("pgd", pair[0]).protect(x[:6], keys[:6])
    with torch.no_grad():
        y, y_p = (pair[0].manipulate(v, keys).clamp(-1, 1) for v in (x, x_p))
        strict = StrictSuccessRate().measure(Pair(y, y_p, x, x_p))
        reached = success(y, y_p, x, x_p)
    assert 0 < float(strict.sum()) < 12
    # A soft minimum lies below the least of the three, by at most log(3) / SHARPNESS.
    assert ((reached > 0) <= (strict > 0)).all()
    assert ((reached < -0.3) <= (strict == 0)).all()


def test_the_attack_changes_both_manipulators_within_epsilon(faces, pair):
    x, keys = faces[0][:1], faces[1][:1]
    made = ensemble_noise(x, keys, pair, EPSILON, [SEEN], steps=20)
    assert float(made.abs().max()) <= EPSILON + 1e-6
    x_p = (x + SEEN(made, "lanczos")).clamp(-1, 1)
    with torch.no_grad():
        for model in pair:
            assert float((model.manipulate(x_p, keys) - model.manipulate(x, keys)).square().mean()) > 0.05


def test_the_attack_draws_by_the_key_and_the_seed(faces, pair):
    def made(key, seed):
        return ensemble_noise(faces[0][:1], [key], pair, EPSILON, [SEEN], steps=2, seed=seed)

    assert torch.equal(made("a", 0), made("a", 0))
    assert not torch.equal(made("a", 0), made("b", 0))
    assert not torch.equal(made("a", 0), made("a", 1))


def test_of_many_faces_so_many_are_worked_on_at_once(faces, pair, monkeypatch):
    monkeypatch.setattr(attack, "AT_ONCE", 1)
    both = ensemble_noise(*faces, pair[:1], EPSILON, [SEEN, SEEN], steps=2)
    alone = [
        ensemble_noise(faces[0][i : i + 1], faces[1][i : i + 1], pair[:1], EPSILON, [SEEN], steps=2) for i in range(2)
    ]
    assert torch.equal(both, torch.cat(alone))


def test_grey_noise_is_the_same_on_all_channels(faces, pair):
    made = ensemble_noise(faces[0], faces[1], pair[:1], EPSILON, [SEEN, SEEN], grey=True, steps=2)
    assert made.shape == (2, 3, 64, 64)
    assert torch.equal(made[:, 0], made[:, 1])
    assert torch.equal(made[:, 0], made[:, 2])


class Blind(Manipulator):
    """Nothing changes it."""

    name = "blind"

    def manipulate(self, x, keys):
        return 0 * x


def test_grey_noise_gives_up_the_manipulator_that_nothing_changes(faces, pair, monkeypatch):
    monkeypatch.setattr(attack, "STARTS", 1)
    x, keys = faces[0][:1], faces[1][:1]
    made = [ensemble_noise(x, keys, ms, EPSILON, [SEEN], grey=True, steps=2) for ms in (pair, [Blind(), *pair])]
    # Attempts are computed side by side, which rounds otherwise.
    assert float((made[0] == made[1]).float().mean()) > 0.95


def test_each_grey_face_keeps_the_attempt_that_is_best_for_it(faces):
    class Hard(Manipulator):
        """Changed on the second face alone."""

        name = "hard"

        def manipulate(self, x, keys):
            second = torch.tensor([float(key.startswith(faces[1][1])) for key in keys])
            return second[:, None, None, None] * x.flip(-1)

    class Flipped(Manipulator):
        name = "flipped"

        def manipulate(self, x, keys):
            return x.flip(-1)

    target = attack._Target(*faces, [Flipped(), Hard(), Flipped()], [SEEN, SEEN], True, torch.Generator())
    begun = attack._Attempts.begun(target, EPSILON, give_up=True)
    assert begun.faces == [0] * 3 * attack.STARTS + [1] * 3 * attack.STARTS
    best = begun.narrowed(1.0, target)
    assert best.faces == [0, 1]
    assert best.against[0] == (0, 2)


def test_grey_attempts_begin_with_every_set_of_manipulators_from_several_noises(faces, pair):
    target = attack._Target(faces[0][:1], faces[1][:1], [Blind(), *pair], [SEEN], True, torch.Generator())
    begun = attack._Attempts.begun(target, EPSILON, give_up=True)
    assert len(set(begun.against)) == 3
    alike = [[i for i, one in enumerate(begun.noise) if torch.equal(one, start)] for start in begun.noise[::3]]
    assert alike == [[0, 1, 2], [3, 4, 5]]
    for together in alike:
        assert {begun.against[i] for i in together} == set(begun.against)


def test_what_a_manipulator_makes_of_the_plain_faces_is_computed_once(faces, pair, monkeypatch):
    given = []
    real = pair[1].manipulate
    monkeypatch.setattr(pair[1], "manipulate", lambda x, keys: given.extend(keys) or real(x, keys))
    target = attack._Target(*faces, pair, [SEEN, SEEN], True, torch.Generator())
    sight = attack._Sight(faces[0], [f"{key}#3" for key in faces[1]], "box", None)
    for _ in range(2):
        torch.testing.assert_close(target.output(1, sight), real(faces[0], sight.named), atol=1e-4, rtol=0)
    assert given == sight.named


@pytest.mark.parametrize("view", range(len(attack.views()) - attack.CROPS + 1))
def test_every_processing_passes_a_gradient(faces, view):
    x = faces[0].clone().requires_grad_()
    seen = attack.views()[view](x, faces[1])
    assert seen.shape == x.shape
    (gradient,) = torch.autograd.grad(seen.square().sum(), x)
    assert float(gradient.abs().mean()) > 1e-3


def test_a_registered_protector_attacks_all_manipulators_at_once(faces, pair):
    x, keys = faces[0][:1], faces[1][:1]
    made = noise_for("fgsm", x, keys, pair, EPSILON, [SEEN], False, 0)
    assert 0.1 < float(made.abs().max()) <= EPSILON + 1e-6
    y = Gathered(pair).manipulate(x, keys)
    assert y.shape == (1, 3, 64, 128)


class Learned(Protector):
    """Knows one manipulator, as one with weights does."""

    name = "learned"

    def __init__(self, manipulator, epsilon=0.3, seed=0):
        super().__init__(manipulator, epsilon, seed)
        if manipulator.name != "psp-mix":
            raise ArsbenchError(f"no weights for {manipulator.name}")

    def protect(self, x, keys):
        return (x + self.epsilon * torch.sign(x.flip(-1))).clamp(-1, 1)


def test_a_learned_protector_is_tried_against_each_manipulator_that_it_knows(faces, pair):
    made = noise_for(Learned, *faces, pair, EPSILON, [SEEN, SEEN], False, 0)
    assert made.shape == (2, 3, 64, 64)
    assert 0.1 < float(made.abs().max()) <= EPSILON + 1e-6
    with pytest.raises(ArsbenchError, match="no weights for"):
        noise_for(Learned, *faces, pair[:1], EPSILON, [SEEN, SEEN], False, 0)


class Over(Protector):
    name = "over"

    def protect(self, x, keys):
        return (x + 2 * self.epsilon).clamp(-1, 1)


class Raises(Protector):
    name = "raises"

    def protect(self, x, keys):
        raise ZeroDivisionError("oops")


@pytest.mark.parametrize(
    ("cls", "sentence"), [(Over, "over its budget"), (Raises, "protector 'raises' failed: ZeroDivisionError: oops")]
)
def test_a_protector_of_ones_own_is_told_what_is_wrong(cls, sentence, faces, pair):
    with pytest.raises(ArsbenchError, match=sentence):
        noise_for(cls, faces[0][:1], faces[1][:1], pair[:1], EPSILON, [SEEN], False, 0)
