"""pSp as users meet it: the shipped weights through the public interface."""

from __future__ import annotations

import pytest
import torch

import arsbench
from arsbench.contracts import ArsbenchError
from arsbench.faces.tracks import conditions_of
from arsbench.manipulators.psp import CONDITIONS, OPEN_MIX_FROM, WEIGHTS, PspMix, kept_codes, mix
from arsbench.scoring.lpips import load_lpips


@pytest.fixture(scope="module")
def faces():
    return arsbench.load_faces(n=12)


@pytest.fixture(scope="module")
def recon():
    return arsbench.load_manipulator("psp-recon")


@pytest.fixture(scope="module")
def mixer():
    return arsbench.load_manipulator("psp-mix")


def reconstruction(recon, n):
    x, keys = arsbench.load_faces(n=n)
    with torch.no_grad():
        y = torch.cat([recon.manipulate(x[i : i + 50], keys[i : i + 50]) for i in range(0, n, 50)]).clamp(-1, 1)
        psnr = -10 * torch.log10((y - x).square().mean((1, 2, 3)) / 4 + 1e-8)
        lpips = torch.cat([load_lpips()(y[i : i + 50], x[i : i + 50]).flatten() for i in range(0, n, 50)])
    return float(psnr.mean()), float(lpips.mean())


def test_mix_leaves_the_coarse_rows_and_blends_the_fine_ones():
    own, other = torch.zeros(2, 10, 4), torch.ones(1, 10, 4)
    mixed = mix(own, other, OPEN_MIX_FROM)
    assert mixed[:, :4].eq(0).all()
    torch.testing.assert_close(mixed[:, 4:], torch.full((2, 6, 4), 0.8))


def test_the_condition_follows_the_key_alone(mixer, faces):
    _, keys = faces
    names = mixer.conditions(keys)
    assert mixer.conditions(keys[::-1]) == names[::-1]
    assert set(names) <= {f"open/val/{seed}" for seed in range(10000, 10016)}
    assert len(set(names)) > 1


def test_a_given_face_is_the_condition_of_every_image(mixer, faces):
    x, keys = faces
    chosen = arsbench.load_faces(split="val", n=16)[0][[int(name[-2:]) for name in mixer.conditions(keys[:1])]]
    given = arsbench.load_manipulator("psp-mix", condition=chosen)
    with torch.no_grad():
        torch.testing.assert_close(given.manipulate(x[:1], keys[:1]), mixer.manipulate(x[:1], keys[:1]))


def test_a_random_condition_is_the_same_each_time_and_differs_between_images(faces):
    x, keys = faces
    random = arsbench.load_manipulator("psp-mix", condition="random")
    with torch.no_grad():
        one, again = random.manipulate(x[:2], keys[:2]), random.manipulate(x[:2], keys[:2])
        other = random.manipulate(x[:2], keys[2:4])
    assert torch.equal(one, again)
    assert (one - other).abs().mean() > 0.01


def test_a_given_z_goes_through_the_mapping_network(faces):
    x, keys = faces
    z = torch.randn(1, 512, generator=torch.Generator().manual_seed(0))
    given = arsbench.load_manipulator("psp-mix", condition=z)
    with torch.no_grad():
        codes = given.model.encode(x[:1])
        codes[:, 4:] = given.model.decoder.style(z)
        torch.testing.assert_close(given.manipulate(x[:1], keys[:1]), given.model.decoder(codes))


@pytest.mark.parametrize("condition", [torch.zeros(1, 7), "smiling", 3])
def test_a_condition_it_cannot_use_is_one_sentence(condition):
    with pytest.raises(ArsbenchError, match="psp-mix"):
        arsbench.load_manipulator("psp-mix", condition=condition)


def test_the_output_is_raw_and_differentiable(mixer, faces):
    x, keys = faces
    x = x[:2].clone().requires_grad_(True)
    mixer.manipulate(x, keys[:2]).square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().amax((1, 2, 3)) > 0).all()


def test_another_size_comes_back_in_that_size(recon):
    with torch.no_grad():
        assert recon.manipulate(torch.zeros(1, 3, 64, 64), ["k"]).shape == (1, 3, 64, 64)


def test_mixing_takes_the_colours_of_the_reference(mixer, faces):
    x, keys = faces
    references = arsbench.load_faces(split="val", n=16)[0][[int(name[-2:]) for name in mixer.conditions(keys)]]
    with torch.no_grad():
        y = mixer.manipulate(x, keys)
    colour = [t.mean((2, 3)) for t in (y, references, x)]
    assert (colour[0] - colour[1]).abs().mean() < (colour[0] - colour[2]).abs().mean()


def test_the_reconstruction_is_the_face(recon):
    psnr, lpips = reconstruction(recon, 50)
    assert psnr > 22
    assert lpips < 0.11


@pytest.mark.slow
def test_the_reconstruction_of_the_thousand_test_faces(recon):
    psnr, lpips = reconstruction(recon, 1000)
    assert psnr >= 23
    assert lpips <= 0.09


def test_the_kept_codes_of_the_condition_faces_are_what_encoding_gives(mixer):
    faces, _ = conditions_of("open")
    kept = kept_codes(WEIGHTS, mixer.weights_sha256, faces)
    torch.testing.assert_close(kept, mixer.encode_faces(faces), rtol=2e-7, atol=0)  # a processor may round the last bit


def test_loading_does_not_encode_the_condition_faces(monkeypatch):
    monkeypatch.setattr(PspMix, "encode_faces", lambda self, faces: pytest.fail("encoded"))
    arsbench.load_manipulator("psp-mix")


def test_codes_are_not_kept_for_other_weights_or_faces(mixer, tmp_path):
    faces, _ = conditions_of("open")
    assert kept_codes(WEIGHTS, "0" * 64, faces) is None
    assert kept_codes(WEIGHTS, mixer.weights_sha256, faces.flip(0)) is None
    assert kept_codes(tmp_path, mixer.weights_sha256, faces) is None
    (tmp_path / f"{CONDITIONS}.json").write_text("{}")
    assert kept_codes(tmp_path, mixer.weights_sha256, faces) is None


def test_other_condition_faces_are_encoded(mixer, faces):
    x, keys = faces
    own = PspMix(condition_faces=x, condition_keys=keys)
    assert torch.equal(own.manipulate(x[:1], keys[:1]), mixed_with(own, x, keys))


def mixed_with(model, x, keys):
    chosen = x[keys.index(model.conditions(keys[:1])[0])][None]
    return arsbench.load_manipulator("psp-mix", condition=chosen).manipulate(x[:1], keys[:1])
