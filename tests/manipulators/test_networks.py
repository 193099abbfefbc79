"""The networks are the official ones: keys and shapes by the manifests, arithmetic by the published formulas."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from arsbench.manipulators.networks import OFFICIAL, official
from arsbench.manipulators.networks.arcface import ArcFace, IRBlock
from arsbench.manipulators.networks.psp_encoder import E4eEncoder, PspEncoder, Stage, fuse_batch_norms
from arsbench.manipulators.networks.simswap import ApplyStyle, InstanceNorm, SimSwapGenerator
from arsbench.manipulators.networks.styleclip_mapper import LevelsMapper
from arsbench.manipulators.networks.stylegan2 import (
    Blur,
    ModulatedConv2d,
    PixelNorm,
    StyledConv,
    StyleGAN2,
    Upsample,
    fold_scales,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize("name", OFFICIAL)
def test_keys_and_shapes_equal_the_official_checkpoint(name):
    with torch.device("meta"):
        net = official(name)
    assert {key: list(t.shape) for key, t in net.state_dict().items()} == json.loads(
        (FIXTURES / f"{name}.json").read_text()
    )["keys"]


def modulated_by_weights(layer: ModulatedConv2d, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    """The official arithmetic: one weight per image, grouped by image."""
    out = []
    for image, style in zip(x, layer.modulation(code), strict=True):
        weight = layer.weight[0] * layer.scale * style[None, :, None, None]
        if layer.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if layer.up:
            h = F.conv_transpose2d(image[None], weight.transpose(0, 1), stride=2)
            out.append(layer.blur(h))
        else:
            out.append(F.conv2d(image[None], weight, padding=layer.kernel // 2))
    return torch.cat(out)


@pytest.mark.parametrize(("kernel", "demodulate", "up"), [(3, True, False), (3, True, True), (1, False, False)])
def test_modulating_the_input_equals_modulating_the_weights(kernel, demodulate, up):
    torch.manual_seed(0)
    layer = ModulatedConv2d(6, 5, kernel, style=7, demodulate=demodulate, up=up).double()
    x, code = torch.randn(3, 6, 8, 8).double(), torch.randn(3, 7).double()
    torch.testing.assert_close(layer(x, code), modulated_by_weights(layer, x, code), rtol=1e-10, atol=1e-10)


def test_blur_and_upsample_equal_upfirdn2d():
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]).double()
    kernel = (line.outer(line) / 64 * 4).expand(3, 1, 4, 4)
    torch.testing.assert_close(Blur().double()(x), F.conv2d(F.pad(x, (1, 1, 1, 1)), kernel, groups=3))
    zeros = torch.zeros(2, 3, 10, 10).double()
    zeros[:, :, ::2, ::2] = x
    torch.testing.assert_close(Upsample().double()(x), F.conv2d(F.pad(zeros, (2, 1, 2, 1)), kernel, groups=3))


def test_pixel_norm_is_over_dimension_1():
    x = torch.tensor([[[3.0, 0.0], [4.0, 2.0]]])
    expected = torch.tensor([[[3 / math.sqrt(12.5), 0.0], [4 / math.sqrt(12.5), 2 / math.sqrt(2)]]])
    torch.testing.assert_close(PixelNorm()(x), expected)


def test_the_generator_uses_one_row_per_layer_and_the_next_for_rgb():
    torch.manual_seed(0)
    net = StyleGAN2(16, style=8, channels={4: 6, 8: 6, 16: 4})
    codes = torch.randn(1, net.n_codes, 8)
    assert net.n_codes == 6
    for row in range(net.n_codes):
        changed = codes.clone()
        changed[:, row] += 1
        assert not torch.equal(net(codes), net(changed)), row


def test_fine_codes_are_read_from_the_finest_map():
    torch.manual_seed(0)
    stages = (Stage(8, 8, 1), Stage(8, 16, 1), Stage(16, 16, 1), Stage(16, 16, 1))
    net = PspEncoder(64, n_codes=10, style=12, stem=8, stages=stages, reduction=4).eval()
    coarse, middle, fine = net.features(torch.randn(1, 3, 64, 64))
    assert [m.shape[-1] for m in (coarse, middle, fine)] == [4, 8, 16]
    codes = net(torch.randn(2, 3, 64, 64))
    assert codes.shape == (2, 10, 12)
    torch.testing.assert_close(net.styles[9](fine), net.styles[9](fine.clone()))


def test_the_pyramid_is_upsampled_with_aligned_corners():
    torch.manual_seed(0)
    stages = (Stage(8, 8, 1), Stage(8, 16, 1), Stage(16, 16, 1), Stage(16, 16, 1))
    net = PspEncoder(64, n_codes=10, style=12, stem=8, stages=stages, reduction=4).eval()
    torch.nn.init.zeros_(net.latlayer1.weight)
    torch.nn.init.zeros_(net.latlayer1.bias)
    coarse, middle, _ = net.features(torch.randn(1, 3, 64, 64))
    torch.testing.assert_close(middle[..., 0, -1], coarse[..., 0, -1])
    torch.testing.assert_close(middle[..., 0, 1], coarse[..., 0, 0] * 4 / 7 + coarse[..., 0, 1] * 3 / 7)


def test_fused_batch_norms_change_no_code():
    torch.manual_seed(0)
    stages = (Stage(8, 8, 1), Stage(8, 16, 2), Stage(16, 16, 1), Stage(16, 16, 1))
    net = PspEncoder(64, n_codes=10, style=12, stem=8, stages=stages, reduction=4)
    net(torch.randn(8, 3, 64, 64))
    net.eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = net(x)
        fuse_batch_norms(net)
        torch.testing.assert_close(net(x), before, rtol=1e-4, atol=1e-5)
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules()) == 5


def test_a_styled_layer_is_the_published_formula():
    torch.manual_seed(0)
    layer = StyledConv(6, 5, style=7).double()
    torch.nn.init.normal_(layer.noise.weight)
    torch.nn.init.normal_(layer.activate.bias)
    x, code, noise = torch.randn(2, 6, 8, 8).double(), torch.randn(2, 7).double(), torch.randn(1, 1, 8, 8).double()
    h = modulated_by_weights(layer.conv, x, code) + layer.noise.weight * noise + layer.activate.bias[:, None, None]
    torch.testing.assert_close(layer(x, code, noise), F.leaky_relu(h, 0.2) * math.sqrt(2), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("psp_full", 297_506_764),
        ("simswap_g", 55_051_779),
        ("styleclip_mapper", 3_151_872),
        ("arcface", 52_193_215),
    ],
)
def test_the_official_size_has_the_official_number_of_parameters(name, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in official(name).parameters()) == count


def test_e4e_reads_every_row_as_a_step_from_the_first():
    torch.manual_seed(0)
    sizes = {"n_codes": 8, "style": 4, "stem": 4, "stages": [Stage(4, 4, 1)] * 4, "reduction": 2}
    psp, e4e = PspEncoder(64, **sizes).eval(), E4eEncoder(64, **sizes).eval()
    e4e.load_state_dict(psp.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        steps, codes = psp(x), e4e(x)
    torch.testing.assert_close(codes[:, 0], steps[:, 0])
    torch.testing.assert_close(codes[:, 1:] - codes[:, :1], steps[:, 1:])


def by_hand(mapper, rows):
    """The official arithmetic of a level: PixelNorm over the rows, four layers, biases on the last dimension."""
    h = rows / (rows.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in list(mapper.mapping)[1:]:
        h = torch.einsum("bni,oi->bno", h, layer.weight * 0.01 / math.sqrt(rows.shape[-1])) + layer.bias * 0.01
        h = torch.where(h > 0, h, 0.2 * h) * 2**0.5
    return h


def test_the_mapper_normalises_over_rows_and_adds_its_bias_to_the_last_dimension():
    torch.manual_seed(0)
    net = LevelsMapper(style=6, rows=(3, 5)).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=50.0)
    codes = torch.randn(2, 8, 6).double()
    levels = (net.course_mapping, net.medium_mapping, net.fine_mapping)
    wanted = [by_hand(m, r) for m, r in zip(levels, (codes[:, :3], codes[:, 3:5], codes[:, 5:]), strict=True)]
    torch.testing.assert_close(net(codes), torch.cat(wanted, dim=1))


def test_a_level_without_a_mapper_stays_where_it_is():
    net = LevelsMapper(style=6, rows=(3, 5), fine=False)
    delta = net(torch.randn(1, 8, 6))
    assert delta[:, 5:].eq(0).all()
    assert delta[:, :5].ne(0).any()


def test_instance_norm_divides_by_the_root_mean_square():
    x = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    torch.testing.assert_close(InstanceNorm()(x), (x - 4) / 5**0.5)


def test_apply_style_scales_by_one_more_than_it_says():
    layer = ApplyStyle(latent=1, channels=2)
    with torch.no_grad():
        layer.linear.weight.zero_()
        layer.linear.bias.copy_(torch.tensor([1.0, 2.0, 10.0, 20.0]))
    out = layer(torch.full((1, 2, 1, 1), 3.0), torch.zeros(1, 1))
    assert out.flatten().tolist() == [3 * 2 + 10, 3 * 3 + 20]


def test_a_swap_lies_in_0_to_1_and_carries_a_gradient_to_the_face():
    torch.manual_seed(0)
    net = SimSwapGenerator((4, 4, 6, 8), latent=5, blocks=1).eval()
    x = torch.rand(1, 3, 16, 24, requires_grad=True)
    y = net(x, torch.randn(1, 5) * 100)
    y.sum().backward()
    assert y.shape == x.shape
    assert y.min() >= 0
    assert y.max() <= 1
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_a_swap_depends_on_the_identity():
    torch.manual_seed(0)
    net = SimSwapGenerator((4, 4, 6, 8), latent=5, blocks=1).eval()
    x = torch.rand(1, 3, 16, 16)
    assert not torch.equal(net(x, torch.zeros(1, 5)), net(x, torch.ones(1, 5)))


def test_arcface_uses_one_activation_twice_and_adds_what_went_in():
    torch.manual_seed(0)
    block = IRBlock(16, 16, 1).eval()
    with torch.no_grad():
        block.conv2.weight.zero_()
        block.prelu.weight.fill_(0.5)
        x = torch.randn(1, 16, 4, 4)
        torch.testing.assert_close(block(x), torch.where(x > 0, x, 0.5 * x))


def test_arcface_gives_an_identity_of_512_numbers_and_a_gradient():
    net = ArcFace(blocks=(1, 1, 1, 1)).eval()
    x = torch.randn(2, 3, 112, 112, requires_grad=True)
    identities = net(x)
    identities.sum().backward()
    assert identities.shape == (2, 512)
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@torch.no_grad()
def test_folding_the_scales_once_or_twice_changes_no_picture():
    net = StyleGAN2(16, style=8, channels={4: 6, 8: 6, 16: 4}).eval()
    codes = torch.randn(3, net.n_codes, 8, generator=torch.Generator().manual_seed(0))
    before = net(codes)
    weight = net.convs[0].conv.weight.clone()
    for _ in range(2):
        fold_scales(net)
        torch.testing.assert_close(net(codes), before)
    assert not torch.equal(net.convs[0].conv.weight, weight)
