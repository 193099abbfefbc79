"""Narrower networks: which channels stay, and that a narrowed one is the one the package loads."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from arsbench.contracts import ArsbenchError, load_weights, save_weights, seeded
from manipulators import psp, psp_narrowing, simswap, simswap_narrowing
from manipulators.narrowing import busiest, keep, mean_squares
from manipulators.networks.psp_encoder import Stage

WIDE = psp.Shape(
    channels={4: 128, 8: 128, 16: 72, 32: 40, 64: 24},
    stages=(Stage(16, 24, 1, 24), Stage(24, 48, 3, 48), Stage(48, 96, 4, 48), Stage(96, 128, 2, 64)),
    hidden=56,
)
WIDE_SWAP = (24, 56, 104, 120)


@pytest.fixture
def wide_psp():
    with seeded(0):
        return psp.open_model(WIDE).eval()


@pytest.fixture
def wide_simswap():
    with seeded(0):
        return simswap.open_generator(WIDE_SWAP).eval()


def faces(n):
    return torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def start(folder, stem, network):
    save_weights(folder, stem, network.state_dict(), {"what": "a wide one"})
    return folder, stem


def test_the_busiest_channels_are_the_active_ones_that_are_read():
    squares = torch.tensor([1.0, 4.0, 9.0, 1.0])
    weight = torch.ones(2, 4, 1, 1)
    weight[:, 2] = 0  # the most active channel, which nothing reads
    weight[:, 3] *= 3
    assert busiest(squares, [(weight, 1)], 2).tolist() == [1, 3]
    other = torch.zeros(4, 2)
    other[2] = 9
    assert busiest(squares, [(weight, 1), (other, 0)], 2).tolist() == [2, 3]


def test_weights_that_are_too_narrow_are_one_sentence():
    with pytest.raises(ArsbenchError, match="a layer of 2 channels where 3 are needed; start from wider ones"):
        busiest(torch.ones(2), [(torch.ones(1, 2), 1)], 3)


def test_mean_squares_are_those_of_the_output_and_leave_no_trace():
    layer = torch.nn.Conv2d(1, 2, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 2.0)
    x = torch.tensor([[[[1.0, 3.0]]]])
    assert mean_squares({"it": layer}, lambda: layer(x))["it"].tolist() == [20.0, 20.0]
    assert not layer._forward_hooks


def test_keep_takes_channels_along_the_given_axis():
    tensors = {"a": torch.arange(6).view(2, 3), "b": torch.arange(3)}
    keep(tensors, [("a", 1), ("b", 0)], torch.tensor([0, 2]))
    assert tensors["a"].tolist() == [[0, 2], [3, 5]]
    assert tensors["b"].tolist() == [0, 2]


def test_a_decoder_narrowed_to_its_own_shape_draws_the_same(wide_psp):
    codes = wide_psp.encode(faces(2))
    same = psp_narrowing.narrowed_decoder(wide_psp.decoder, WIDE, codes)
    torch.testing.assert_close(same(codes), wide_psp.decoder(codes))


def test_an_encoder_narrowed_to_its_own_shape_reads_the_same(wide_psp):
    x = faces(2)
    same = psp_narrowing.narrowed_encoder(wide_psp.encoder, WIDE, x)
    torch.testing.assert_close(same(x), wide_psp.encoder(x))


def test_a_generator_narrowed_to_its_own_widths_draws_the_same(wide_simswap):
    x, identities = faces(2), torch.randn(2, 128, generator=torch.Generator().manual_seed(0))
    same = simswap_narrowing.narrowed(wide_simswap, WIDE_SWAP, x, identities).eval()
    torch.testing.assert_close(same((x + 1) / 2, identities), wide_simswap((x + 1) / 2, identities))


def test_what_nothing_reads_can_go_without_a_change(wide_psp):
    with torch.no_grad():  # of the last layers' 24 channels, the even ones
        wide_psp.decoder.convs[-1].conv.weight[:, :, ::2] = 0
        wide_psp.decoder.to_rgbs[-1].conv.weight[:, :, ::2] = 0
    codes = wide_psp.encode(faces(2))
    small = psp_narrowing.narrowed_decoder(wide_psp.decoder, WIDE._replace(channels={**WIDE.channels, 64: 12}), codes)
    torch.testing.assert_close(small(codes), wide_psp.decoder(codes))


def test_channels_inside_a_block_that_nothing_reads_can_go_without_a_change(wide_psp):
    first, second, *_ = WIDE.stages
    with torch.no_grad():
        for block in wide_psp.encoder.body[1:4]:
            block.res_layer[3].weight[:, 1::3] = 0
    x = faces(2)
    stages = (first, second._replace(inner=32), *WIDE.stages[2:])
    small = psp_narrowing.narrowed_encoder(wide_psp.encoder, WIDE._replace(stages=stages), x)
    assert small.body[2].res_layer[2].weight.shape == (32,)
    torch.testing.assert_close(small(x), wide_psp.encoder(x))


def test_a_block_that_adds_nothing_can_go_without_a_change(wide_psp):
    first, second, *_ = WIDE.stages
    with torch.no_grad():  # the second of the second stage's three
        wide_psp.encoder.body[2].res_layer[4].weight.zero_()
        wide_psp.encoder.body[2].res_layer[4].bias.zero_()
    x = faces(2)
    stages = (first, second._replace(blocks=2), *WIDE.stages[2:])
    small = psp_narrowing.narrowed_encoder(wide_psp.encoder, WIDE._replace(stages=stages), x)
    assert len(small.body) == len(wide_psp.encoder.body) - 1
    torch.testing.assert_close(small(x), wide_psp.encoder(x))


def test_channels_of_a_head_that_nothing_reads_can_go_without_a_change(wide_psp):
    with torch.no_grad():
        for head in wide_psp.encoder.styles:
            for layer in head.convs[2::2]:
                layer.weight[:, ::7] = 0
    x = faces(2)
    small = psp_narrowing.narrowed_encoder(wide_psp.encoder, WIDE._replace(hidden=48), x)
    torch.testing.assert_close(small(x), wide_psp.encoder(x))


def test_too_few_blocks_are_one_sentence(wide_psp):
    deeper = (*WIDE.stages[:3], WIDE.stages[3]._replace(blocks=3))
    with pytest.raises(ArsbenchError, match="a stage of 2 blocks where 3 are needed; start from deeper ones"):
        psp_narrowing.narrowed_encoder(wide_psp.encoder, WIDE._replace(stages=deeper), faces(2))


def test_every_width_of_the_decoder_can_shrink(wide_psp):
    codes = wide_psp.encode(faces(2))
    shape = WIDE._replace(channels={4: 32, 8: 24, 16: 16, 32: 8, 64: 4})
    assert psp_narrowing.narrowed_decoder(wide_psp.decoder, shape, codes)(codes).shape == (2, 3, 64, 64)


def test_who_answers_attacks_as_the_teacher_does_is_asked_for_more(tmp_path, small_job, wide_psp, monkeypatch):
    job = small_job(tmp_path, 1)
    missed = psp_narrowing._losses(wide_psp, wide_psp, job, 0)["codes"]
    monkeypatch.setattr(psp_narrowing, "ATTACKED_ANSWER", 1.0)
    assert missed > 100 * psp_narrowing._losses(wide_psp, wide_psp, job, 0)["codes"]


def test_narrowing_psp_leaves_average_code_and_mapping_as_they_are(tmp_path, small_job, wide_psp):
    job = replace(small_job(tmp_path / "out", 2), start=start(tmp_path / "wide", "psp_open", wide_psp))
    path = psp.PspRecon.train(job)
    tensors, _ = load_weights(path.parent, path.stem)
    before = wide_psp.state_dict()
    assert psp_narrowing.shape_of(tensors) == psp.OPEN_SHAPE
    kept = [name for name in tensors if name == "latent_avg" or name.startswith("decoder.style.")]
    assert len(kept) == 17
    for name in kept:
        torch.testing.assert_close(tensors[name], before[name].half().to(tensors[name]), rtol=0, atol=0, msg=name)
    psp.open_model().load_state_dict(tensors)
    assert "3 x 48 (48 inside)" in json.loads(path.with_suffix(".json").read_text())["recipe"]


def test_narrowing_simswap_ends_in_what_the_package_loads(tmp_path, small_job, wide_simswap):
    job = replace(small_job(tmp_path / "out", 2), start=start(tmp_path / "wide", "simswap_open", wide_simswap))
    path = simswap.SimSwap.train(job)
    tensors, _ = load_weights(path.parent, path.stem)
    simswap.open_generator().load_state_dict(tensors)
    card = json.loads(path.with_suffix(".json").read_text())
    assert "24 56 104 120 narrowed to" in card["recipe"]
    assert card["started_from"]["what"] == "a wide one"


@pytest.mark.parametrize("family", ["psp", "simswap"])
def test_a_stopped_narrowing_goes_on_to_the_same_weights(tmp_path, small_job, family, request, monkeypatch):
    module, cls = {"psp": (psp_narrowing, psp.PspRecon), "simswap": (simswap_narrowing, simswap.SimSwap)}[family]
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 1)
    begin = start(tmp_path / "wide", f"{family}_open", request.getfixturevalue(f"wide_{family}"))
    whole = cls.train(replace(small_job(tmp_path / "whole", 2), start=begin))
    with pytest.raises(KeyboardInterrupt):
        cls.train(replace(small_job(tmp_path / "stopped", 2, stop_after=1), start=begin))
    resumed = cls.train(replace(small_job(tmp_path / "stopped", 2), start=begin))
    assert resumed.read_bytes() == whole.read_bytes()
