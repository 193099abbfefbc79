"""Noise against several manipulators at once, made for what comes after: enlarging, reducing, a platform's processing.

A gradient method in the manner of EoT-PGD. Each step looks at the picture through one reduction and one processing,
and at each manipulator with another condition, because the forger's is not known. What is maximised is how many
manipulators are changed, softly: of each, the least of the three ratios to the thresholds of ``sr_strict``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from arsbench import registry
from arsbench.contracts import Manipulator
from arsbench.draws import generator
from arsbench.photos.enlarge import REDUCERS, Seen
from arsbench.running.loading import make_perturbation
from arsbench.running.side_by_side import each
from arsbench.scoring.amplification import AMPLIFICATION_THRESHOLD
from arsbench.scoring.sr import SR_THRESHOLD
from arsbench.scoring.unrecovered import UNRECOVERED_THRESHOLD

STEPS, GREY_STEPS, PROBE_STEPS = 50, 130, 20
"""Grey noise has one value where colours have three, and takes longer to find; before, each manipulator is tried alone,
to know which to give up: see :func:`outsider`."""
MOMENTUM = 0.9
STEP_SHARE = 0.25
"""First step size over epsilon; it falls to a tenth of that."""
SHARPNESS = 4.0
"""How hard the minimum of the three is."""
MARGIN, STEEPNESS = 0.4, 3.0
"""How far above its thresholds, as a logarithm, a manipulator is pushed; those that are near pull hardest, because the
gradient that one out of reach would take is lost to the others."""
STILL, ENOUGH = 0.1, 1.0
"""How much the others pull, and from where on none does."""
FOCUS, NEAR, MEMORY = 3.0, 0.8, 0.8
"""Of grey noise: how hard the least changed of the manipulators pulls, up to where any does, and how slowly who that is
changes."""
PLAIN_SHARE, GREY_PLAIN_SHARE = 0.3, 0.6
"""Of the steps: without any processing."""
OTHER_CROP = 0.1
"""By how much of its side a forger's crop may be wider, narrower or elsewhere."""
CROPS = 2
"""How much oftener than each other processing that is drawn."""

View = Callable[[Tensor, Sequence[str]], Tensor]


def views() -> list[View]:
    """What a platform may do with a picture, differentiable: JPEG, another size, a blur; and a forger's own crop."""
    jpeg, downscale, blur = (
        make_perturbation(registry.find("perturbation", name)) for name in ("jpeg", "downscale", "gaussian_blur")
    )
    return [
        lambda x, keys: jpeg.differentiable(x, 75, keys),
        lambda x, keys: jpeg.differentiable(downscale.differentiable(x, 2.0, keys), 75, keys),
        lambda x, keys: downscale.differentiable(x, 2.0, keys),
        lambda x, keys: blur.differentiable(x, 1.0, keys),
        *[cropped_otherwise] * CROPS,
    ]


def cropped_otherwise(x: Tensor, keys: Sequence[str]) -> Tensor:
    """Each face cropped a little wider or narrower and elsewhere, by its key; what lies outside repeats the border."""
    draws = 2 * torch.cat([torch.rand((1, 3), generator=generator(key, "other-crop")) for key in keys]) - 1
    scale, shift = 1 + OTHER_CROP * draws[:, 0], OTHER_CROP * draws[:, 1:]
    theta = torch.zeros(len(keys), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale, scale, shift
    grid = F.affine_grid(theta, list(x.shape), align_corners=False).to(x)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def success(y: Tensor, y_p: Tensor, x: Tensor, x_p: Tensor) -> Tensor:
    """The soft minimum ``[B]`` of the logarithms of the three ratios to ``sr_strict``'s thresholds, differentiable."""
    error = (y_p - y).square().mean((1, 2, 3))
    noise = (x_p - x).square().mean((1, 2, 3)).clamp_min(1e-4)
    a, b = (v.flatten(2) - v.flatten(2).mean(2, keepdim=True) for v in (y, y_p))
    explained = (a * b).sum(2).clamp_min(0).square() / b.square().sum(2).clamp_min(1e-6)
    total = a.square().sum((1, 2))
    lost = (total - explained.sum(1)) / total.clamp_min(1e-6)
    ratios = (error / SR_THRESHOLD, lost / UNRECOVERED_THRESHOLD, error / noise / AMPLIFICATION_THRESHOLD)
    logarithms = torch.stack([ratio.clamp_min(1e-4).log() for ratio in ratios])
    return -torch.logsumexp(-SHARPNESS * logarithms, 0) / SHARPNESS


def ensemble_noise(
    x: Tensor,
    keys: Sequence[str],
    manipulators: Sequence[Manipulator],
    epsilon: float,
    seen: Sequence[Seen],
    grey: bool = False,
    steps: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Noise for the faces of one photo, as it is to be enlarged.

    Args:
        x: reduced crops ``[B, 3, S, S]`` in [-1, 1].
        keys: theirs; the draws come from the first.
        manipulators: all of which are to be changed.
        epsilon: L_inf budget in [-1, 1] units.
        seen: what reductions show of each face's noise.
        grey: the same noise on all channels.
        steps: of the attack; by default :data:`STEPS` or :data:`GREY_STEPS`.
        seed: of the draws.

    Returns:
        ``[B, 3, S, S]``, within ``epsilon``.
    """
    steps = (GREY_STEPS if grey else STEPS) if steps is None else steps
    climb = partial(_climb, x=x, keys=keys, epsilon=epsilon, seen=seen, grey=grey)
    if grey and len(manipulators) > 2:
        alone = [
            climb([model], PROBE_STEPS, generator(keys[0], f"protect-photo/{model.name}", seed))
            for model in manipulators
        ]
        given_up = outsider(x, keys, manipulators, [_shown(x, noise, seen, next(iter(REDUCERS))) for noise in alone])
        manipulators = [model for i, model in enumerate(manipulators) if i != given_up]
    return climb(manipulators, steps, generator(keys[0], "protect-photo", seed))


@torch.no_grad()
def outsider(x: Tensor, keys: Sequence[str], manipulators: Sequence[Manipulator], alone: Sequence[Tensor]) -> int:
    """Which of ``manipulators`` shares least with the others: their noise changes it least, and its noise them.

    Args:
        x: pictures ``[B, 3, S, S]``.
        keys: theirs.
        manipulators: at least two.
        alone: the pictures protected against each of them alone.
    """
    reached = x.new_zeros(len(manipulators), len(manipulators))
    for i, model in enumerate(manipulators):
        y = model.manipulate(x, keys)
        for j, x_p in enumerate(alone):
            if i != j:
                reached[i, j] = success(y, model.manipulate(x_p, keys).clamp(-1, 1), x, x_p).mean()
    return int((reached.sum(0) + reached.sum(1)).argmin())


def _climb(
    manipulators: Sequence[Manipulator],
    steps: int,
    draws: torch.Generator,
    x: Tensor,
    keys: Sequence[str],
    epsilon: float,
    seen: Sequence[Seen],
    grey: bool,
) -> Tensor:
    """The noise that changes ``manipulators``, and as :func:`ensemble_noise`."""
    platform, reducers = views(), list(REDUCERS)
    side_by_side = x.device.type == "cpu" and all(model.thread_safe for model in manipulators)

    def draw(n: int) -> int:
        return int(torch.randint(n, (), generator=draws))

    noise = _alike(epsilon * (2 * torch.rand(x.shape, generator=draws) - 1), grey).to(x)
    velocity = torch.zeros_like(x)
    lately = x.new_zeros(len(manipulators), len(x))
    for step in range(steps):
        named = [f"{key}#{draw(1 << 30)}" for key in keys]
        plain = float(torch.rand((), generator=draws)) < (GREY_PLAIN_SHARE if grey else PLAIN_SHARE)
        view = None if plain else platform[draw(len(platform))]
        reducer = reducers[draw(len(reducers))]
        noise.requires_grad_()
        x_p = _shown(x, noise, seen, reducer)
        px, px_p = (x, x_p) if view is None else (view(x, named), view(x_p, named))
        weights = (-FOCUS * lately).softmax(0) if grey else [None] * len(manipulators)
        pull = partial(_pull, px=px, px_p=px_p.detach(), keys=named)
        pairs = list(zip(manipulators, weights, strict=True))
        pulls = each(pull, pairs) if side_by_side else [pull(pair) for pair in pairs]
        lately = MEMORY * lately + (1 - MEMORY) * torch.stack([reached for _, reached in pulls])
        (gradient,) = torch.autograd.grad(px_p, noise, torch.stack([gradient for gradient, _ in pulls]).sum(0))
        gradient = _alike(gradient, grey)
        velocity = MOMENTUM * velocity + gradient / gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
        size = STEP_SHARE * epsilon * (1 - 0.9 * step / steps)
        noise = (noise.detach() + size * velocity.sign()).clamp(-epsilon, epsilon)
    return noise


def _shown(x: Tensor, noise: Tensor, seen: Sequence[Seen], reducer: str) -> Tensor:
    """x_p as one reduction of the enlarged photo shows it."""
    return (x + torch.stack([shows(n, reducer) for n, shows in zip(noise, seen, strict=True)])).clamp(-1, 1)


def _pull(
    model_and_weight: tuple[Manipulator, Tensor | None], px: Tensor, px_p: Tensor, keys: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """The gradient at ``px_p`` of how far one manipulator is changed, and how far that is ``[B]``."""
    model, weight = model_and_weight
    px_p = px_p.clone().requires_grad_()  # of this thread alone
    with torch.no_grad():
        y = model.manipulate(px, keys)
    with torch.enable_grad():
        reached = success(y, model.manipulate(px_p, keys).clamp(-1.5, 1.5), px, px_p)
        if weight is None:
            gain = torch.sigmoid(STEEPNESS * (reached - MARGIN)) + STILL * reached.clamp(max=ENOUGH)
        else:
            gain = weight * reached.clamp(max=NEAR)
    return torch.autograd.grad(gain.sum(), px_p)[0], reached.detach()


def _alike(noise: Tensor, grey: bool) -> Tensor:
    return noise.mean(1, keepdim=True).expand(noise.shape).contiguous() if grey else noise
