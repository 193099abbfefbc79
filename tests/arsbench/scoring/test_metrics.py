"""The metrics against values computed by hand or by an independent library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import lsq_linear
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from arsbench.api import score
from arsbench.contracts import ArsbenchError, Pair
from arsbench.faces.shipped import load_faces
from arsbench.scoring import lpips
from arsbench.scoring.columns import MEASURED, SCORES
from arsbench.scoring.lpips import load_lpips
from arsbench.scoring.metrics import IDENTITY
from arsbench.scoring.scorer import Scorer
from arsbench.scoring.torchvision_cure import import_with_cure
from arsbench.scoring.unrecovered import unrecovered_share

LPIPS_EXAMPLES = Path(__file__).parents[4] / "shared" / "reference" / "lpips"


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def constant(value: float, side: int = 32) -> Tensor:
    return torch.full((1, 3, side, side), value)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer()


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Eight faces in every role, different enough that the success rates take both values."""
    faces, _ = load_faces(n=16)
    y, other = faces[:8], faces[8:]
    strength = torch.linspace(0, 1, 8)[:, None, None, None]
    y_p = y + strength * (other - y)
    return Pair(
        y, y_p, x=y.flip(3), x_p=(y.flip(3) + 0.1), y_clean=other, px=y.flip(2), px_p=(y.flip(2) - 0.2 * strength)
    )


# --- mse, psnr, ssim ------------------------------------------------------------------------------------------------


def test_mse_and_psnr_by_hand(scorer: Scorer) -> None:
    scores = scorer.score(Pair(constant(-1.0), constant(1.0)))
    assert float(scores["mse"]) == 4.0
    assert float(scores["psnr"]) == pytest.approx(0.0, abs=1e-5)
    scores = scorer.score(Pair(constant(0.1), constant(0.3)))
    assert float(scores["mse"]) == pytest.approx(0.04)
    assert float(scores["psnr"]) == pytest.approx(20.0, abs=1e-4)


def test_equal_pictures_have_80_db_and_ssim_1_and_lpips_0(scorer: Scorer, pair: Pair) -> None:
    scores = scorer.score(Pair(pair.y, pair.y))
    assert scores["psnr"].tolist() == pytest.approx([80.0] * 8, abs=1e-4)
    assert scores["ssim"].tolist() == pytest.approx([1.0] * 8, abs=1e-6)
    assert scores["mse"].tolist() == scores["lpips"].tolist() == [0.0] * 8
    assert scores["unrecovered"].tolist() == pytest.approx([0.0] * 8, abs=1e-12)


def test_psnr_is_skimages_and_piqs(scorer: Scorer, pair: Pair) -> None:
    psnr = scorer.score(pair)["psnr"][1:]
    for value, y, y_p in zip(psnr, pair.y[1:], pair.y_p[1:], strict=True):
        assert float(value) == pytest.approx(peak_signal_noise_ratio(y.numpy(), y_p.numpy(), data_range=2), abs=1e-3)
    piq = import_with_cure("piq")
    torch.testing.assert_close(psnr, piq.psnr((pair.y[1:] + 1) / 2, (pair.y_p[1:] + 1) / 2, reduction="none"))


@pytest.mark.parametrize("shape", [(64, 64), (11, 11), (40, 90), (300, 260)])
def test_ssim_is_piqs(scorer: Scorer, shape: tuple[int, int]) -> None:
    y = noise(2, 3, *shape)
    y_p = (y + 0.3 * noise(2, 3, *shape, seed=1)).clamp(-1, 1)
    expected = import_with_cure("piq").ssim((y + 1) / 2, (y_p + 1) / 2, reduction="none", downsample=False)
    torch.testing.assert_close(scorer.score(Pair(y, y_p))["ssim"], expected, atol=2e-6, rtol=0)


def test_ssim_of_nearly_flat_pictures_is_what_float64_gives(scorer: Scorer) -> None:
    y = constant(0.3, side=64).expand(4, -1, -1, -1)
    y_p = y + 0.003 * noise(4, 3, 64, 64)
    expected = import_with_cure("piq").ssim((y.double() + 1) / 2, (y_p.double() + 1) / 2, reduction="none")
    torch.testing.assert_close(scorer.score(Pair(y, y_p))["ssim"].double(), expected, atol=5e-5, rtol=0)


def test_ssim_is_skimages_inside_the_border(scorer: Scorer, pair: Pair) -> None:
    for i, value in enumerate(scorer.score(pair)["ssim"]):
        _, similarity = structural_similarity(
            (pair.y[i].double().numpy() + 1) / 2,
            (pair.y_p[i].double().numpy() + 1) / 2,
            data_range=1.0,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        assert float(value) == pytest.approx(similarity[:, 5:-5, 5:-5].mean(), abs=1e-5)


# --- lpips ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not LPIPS_EXAMPLES.is_dir(), reason="the published example pictures are not at hand")
@pytest.mark.parametrize(("name", "published"), [("ex_p0.png", 0.7219), ("ex_p1.png", 0.1376)])
def test_lpips_of_the_published_examples(scorer: Scorer, name: str, published: float) -> None:
    pictures = [np.array(Image.open(LPIPS_EXAMPLES / n).convert("RGB")) for n in ("ex_ref.png", name)]
    y, y_p = (torch.from_numpy(p).movedim(-1, 0)[None] / 127.5 - 1 for p in pictures)
    assert float(scorer.score(Pair(y, y_p))["lpips"]) == pytest.approx(published, abs=1e-3)


def test_lpips_from_shared_features_is_the_packages_own(scorer: Scorer, pair: Pair) -> None:
    expected = load_lpips("cpu")(pair.y, pair.y_p).flatten()
    torch.testing.assert_close(scorer.score(pair)["lpips"], expected, atol=1e-6, rtol=1e-5)


def test_the_lpips_module_gives_gradients_for_training(pair: Pair) -> None:
    moved = pair.y_p[:2].clone().requires_grad_()
    load_lpips("cpu")(pair.y[:2], moved).sum().backward()
    assert moved.grad is not None
    assert float(moved.grad.abs().sum()) > 0


def test_loading_lpips_draws_nothing_from_the_global_generator() -> None:
    lpips._load.cache_clear()
    state = torch.get_rng_state()
    load_lpips("cpu")
    assert torch.equal(state, torch.get_rng_state())


# --- the success rates ----------------------------------------------------------------------------------------------


def changed_share(share: float, value: float = 1.0) -> Tensor:
    """Zeros with ``value`` in a share of the 20 x 20 pixels."""
    picture = constant(0.0, 20)
    picture.view(1, 3, -1)[..., : round(share * 400)] = value
    return picture


def test_sr_is_strictly_above_0_05(scorer: Scorer) -> None:
    zero = constant(0.0, 20)
    exactly, above = (scorer.score(Pair(zero, changed_share(share))) for share in (0.05, 0.0525))
    assert float(exactly["mse"]) == pytest.approx(0.05)
    assert float(exactly["sr"]) == 0
    assert float(above["sr"]) == 1


def test_sr_mask_looks_only_where_the_manipulator_changed_the_face(scorer: Scorer) -> None:
    x, y = constant(0.0, 20), changed_share(0.1, 0.2)
    y_p = y.clone()
    y_p.view(1, 3, -1)[..., :40] += 0.3
    scores = scorer.score(Pair(y, y_p, x=x))
    assert float(scores["mse"]) == pytest.approx(0.009)
    assert float(scores["sr"]) == 0
    assert float(scores["sr_mask"]) == 1


def test_sr_mask_threshold_is_on_the_sum_over_rgb_and_strict(scorer: Scorer) -> None:
    x, y_p = constant(0.0, 20), constant(-1.0, 20)
    y = constant(0.0, 20)
    y[:, 0], y[:, 1] = 0.25, -0.25
    assert float(scorer.score(Pair(y, y_p, x=x))["sr_mask"]) == 0
    y[:, 2] = 0.01
    assert float(scorer.score(Pair(y, y_p, x=x))["sr_mask"]) == 1


def test_sr_mask_of_an_empty_mask_is_no_success(scorer: Scorer) -> None:
    y, y_p = constant(0.0), constant(1.0)
    scores = scorer.score(Pair(y, y_p, x=y))
    assert float(scores["sr"]) == 1
    assert float(scores["sr_mask"]) == 0


def test_sr_mask_takes_its_mask_from_the_unperturbed_output(scorer: Scorer) -> None:
    x, y, y_p = constant(0.0), constant(0.9), constant(-0.9)
    assert float(scorer.score(Pair(y, y_p, x=x))["sr_mask"]) == 1
    assert float(scorer.score(Pair(y, y_p, x=x, y_clean=x))["sr_mask"]) == 0


def test_the_masks_of_a_batch_are_each_images_own(scorer: Scorer) -> None:
    x = torch.cat([constant(0.0), constant(0.0)])
    y = torch.cat([constant(0.0), constant(0.9)])
    assert scorer.score(Pair(y, y - 0.9, x=x))["sr_mask"].tolist() == [0.0, 1.0]


def test_icml2026_takes_its_mask_from_where_the_outputs_differ(scorer: Scorer) -> None:
    zero, few = constant(0.0, 20), changed_share(0.01)
    assert float(scorer.score(Pair(zero, few))["sr_mask:icml2026"]) == 1
    assert float(scorer.score(Pair(zero, changed_share(1.0, 0.16)))["sr_mask:icml2026"]) == 0


# --- amplification --------------------------------------------------------------------------------------------------


def test_amplification_by_hand_and_its_fallback_to_the_unperturbed_inputs(scorer: Scorer) -> None:
    y, y_p, x, x_p = constant(0.0), constant(0.4), constant(0.1), constant(0.3)
    assert float(scorer.score(Pair(y, y_p, x=x, x_p=x_p))["amplification"]) == pytest.approx(4.0)
    scores = scorer.score(Pair(y, y_p, x=x, x_p=x_p, px=x, px_p=constant(0.9)))
    assert float(scores["amplification"]) == pytest.approx(0.25)


def test_amplification_of_nothing_by_nothing_is_nan_and_no_strict_success(scorer: Scorer) -> None:
    y = noise(1, 3, 32, 32)
    scores = scorer.score(Pair(y, y, x=y, x_p=y))
    assert bool(scores["amplification"].isnan())
    assert float(scores["sr_strict"]) == 0


# --- unrecovered ----------------------------------------------------------------------------------------------------


def test_a_levels_tool_takes_back_gain_and_offset_per_channel() -> None:
    y = noise(4, 3, 16, 16) / 4
    gain, offset = torch.tensor([0.5, 2.0, 1.3])[:, None, None], torch.tensor([0.2, -0.4, 0.1])[:, None, None]
    assert unrecovered_share(y, gain * y + offset).tolist() == pytest.approx([0.0] * 4, abs=1e-9)


@pytest.mark.parametrize("value", [1.0, 0.1])
def test_a_blank_output_and_an_inverted_one_are_lost(value: float) -> None:
    y = noise(1, 3, 15, 17)
    assert float(unrecovered_share(y, torch.full_like(y, value))) == 1
    assert float(unrecovered_share(y, -value * y)) == 1


def test_a_constant_reference_is_never_lost() -> None:
    assert float(unrecovered_share(constant(0.3), noise(1, 3, 32, 32))) == 0


def test_unrecovered_is_the_bounded_least_squares_of_scipy() -> None:
    y = noise(3, 3, 12, 12)
    y_p = 0.4 * y + 0.6 * noise(3, 3, 12, 12, seed=1)
    y_p[1, 0] *= -1  # where the best gain is 0
    for value, a, b in zip(unrecovered_share(y, y_p), y.double().numpy(), y_p.double().numpy(), strict=True):
        residual = total = 0.0
        for channel in range(3):
            design = np.stack([b[channel].ravel(), np.ones(144)], 1)
            fit = lsq_linear(design, a[channel].ravel(), bounds=([0, -np.inf], [np.inf, np.inf]), tol=1e-14)
            residual += 2 * fit.cost
            total += ((a[channel] - a[channel].mean()) ** 2).sum()
        assert float(value) == pytest.approx(residual / total, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 3), st.floats(-1, 1))
def test_no_levels_tool_makes_unrecovered_larger_and_it_stays_a_share(seed: int, gain: float, offset: float) -> None:
    y, y_p = noise(1, 3, 8, 8, seed=seed), noise(1, 3, 8, 8, seed=seed + 1)
    share = float(unrecovered_share(y, y_p))
    tried = float((y - gain * y_p - offset).double().square().sum())
    total = float((y - y.mean((2, 3), keepdim=True)).double().square().sum())
    assert 0 <= share <= min(1.0, tried / total + 1e-6)


# --- sr_strict ------------------------------------------------------------------------------------------------------


def mixed(y: Tensor, lost: float) -> Tensor:
    """An output of which the share ``lost`` cannot be recovered: y and something orthogonal to it, per channel."""
    half = y.shape[2] // 2
    other = torch.cat([y[:, :, half:], -y[:, :, :half]], 2)
    return (1 - lost) ** 0.5 * y + lost**0.5 * other


@pytest.mark.parametrize(
    ("lost", "input_change", "strict"),
    [(0.9, 0.1, 1.0), (0.2, 0.1, 0.0), (0.9, 2.0, 0.0)],
    ids=["all three hold", "recovered", "not amplified"],
)
def test_sr_strict_needs_all_three(scorer: Scorer, lost: float, input_change: float, strict: float) -> None:
    pattern = torch.where(noise(1, 3, 16, 32) > 0, 0.7, -0.7)
    y = torch.cat([pattern, pattern.flip(3)], 2)
    y = torch.cat([y, -y], 3)
    x = torch.zeros_like(y) - 1
    scores = scorer.score(Pair(y, mixed(y, lost), x=x, x_p=x + input_change))
    assert float(scores["sr"]) == 1
    assert (float(scores["unrecovered"]) > 0.25) == (lost > 0.25)
    assert float(scores["sr_strict"]) == strict


def test_brightening_wins_sr_but_not_sr_strict(scorer: Scorer, pair: Pair) -> None:
    scores = scorer.score(Pair(pair.y / 2, pair.y / 2 + 0.3, x=pair.y / 2, x_p=pair.y / 2 + 0.2))
    assert scores["sr"].tolist() == [1.0] * 8
    assert scores["sr_strict"].tolist() == [0.0] * 8


# --- the whole ------------------------------------------------------------------------------------------------------


def test_the_columns_are_those_of_the_rows(scorer: Scorer, pair: Pair) -> None:
    assert pair.x is not None
    assert pair.x_p is not None
    assert pair.y_clean is not None
    scores = scorer.score(pair, scorer.reference(pair.y), scorer.reference(pair.y_clean))
    scores |= scorer.imperceptibility(pair.x, pair.x_p)
    assert set(scores) == {c.name for c in MEASURED} - {"seconds", *(metric.name for metric in IDENTITY)}
    assert all(values.shape == (8,) and values.dtype == torch.float32 for values in scores.values())


def test_score_leaves_out_what_it_has_no_inputs_for() -> None:
    y, y_p = noise(2, 3, 32, 32), noise(2, 3, 32, 32, seed=1)
    always = {"mse", "psnr", "lpips", "ssim", "sr", "unrecovered", "sr_mask:icml2026"}
    assert set(score(y, y_p)) == always
    assert set(score(y, y_p, x=y)) == always | {"sr_mask"}
    assert set(score(y, y_p, px=y, px_p=y_p)) == always | {"amplification", "sr_strict"}
    assert set(score(y[..., :30, :30], y_p[..., :30, :30])) == always - {"lpips"}


def test_outputs_are_clamped_before_every_metric(pair: Pair) -> None:
    beyond = Pair(pair.y * 3, pair.y_p * 3)
    inside = Pair(beyond.y.clamp(-1, 1), beyond.y_p.clamp(-1, 1))
    for name, values in score(beyond.y, beyond.y_p).items():
        assert torch.equal(values, score(inside.y, inside.y_p)[name]), name


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(8)), st.integers(1, 8))
def test_no_metric_depends_on_the_rest_of_the_batch(pair: Pair, order: list[int], count: int) -> None:
    every = score(pair.y, pair.y_p, pair.x, pair.x_p, pair.y_clean, pair.px, pair.px_p)
    some = order[:count]
    given_ = (p[some] for p in (pair.y, pair.y_p, pair.x, pair.x_p, pair.y_clean, pair.px, pair.px_p) if p is not None)
    for name, values in score(*given_).items():
        torch.testing.assert_close(values, every[name][some], atol=1e-6, rtol=1e-5, equal_nan=True, msg=name)


def test_clean_reference_columns_compare_with_the_unperturbed_output(scorer: Scorer, pair: Pair) -> None:
    assert pair.y_clean is not None
    scores = scorer.score(pair, None, scorer.reference(pair.y_clean))
    expected = score(pair.y_clean, pair.y_p, x=pair.x, y_clean=pair.y_clean, px=pair.x, px_p=pair.px_p)
    for column in SCORES:
        torch.testing.assert_close(scores[f"{column.name}_clean_reference"], expected[column.name], msg=column.name)


def test_imperceptibility_by_hand(scorer: Scorer) -> None:
    x = constant(0.0)
    x_p = x.clone()
    x_p[0, 1, 2, 3], x_p[0, 0, 0, 0] = 0.4, -0.3
    scores = scorer.imperceptibility(x, x_p)
    assert float(scores["protected_linf"]) == pytest.approx(0.4)
    assert float(scores["protected_l2"]) == pytest.approx(0.5)
    assert float(scores["protected_mse"]) == pytest.approx(0.25 / 3072)


@pytest.mark.parametrize(
    ("y", "y_p", "said"),
    [
        (noise(1, 3, 10, 64), noise(1, 3, 10, 64), "at least 11 x 11"),
        (noise(1, 3, 32, 32), noise(1, 3, 32, 31), "must be the same"),
        (noise(1, 1, 32, 32), noise(1, 1, 32, 32), r"give a float tensor \[B, 3, H, W\]"),
        (noise(1, 3, 32, 32), constant(float("nan")), "y_p holds NaN"),
    ],
)
def test_what_cannot_be_scored_is_one_clear_sentence(y: Tensor, y_p: Tensor, said: str) -> None:
    with pytest.raises(ArsbenchError, match=said):
        score(y, y_p)
