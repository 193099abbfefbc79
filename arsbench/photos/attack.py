"""Noise against several manipulators at once, made for what comes after: enlarging, reducing, a platform's processing.

A gradient method in the manner of EoT-PGD. Each step looks at the picture through one reduction and one processing,
and at each manipulator with another condition, because the forger's is not known. What is maximised is how many
manipulators are changed, softly: of each, the least of the three ratios to the thresholds of ``sr_strict``.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

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

STEPS, GREY_STEPS = 50, 60
"""Grey noise has one value where colours have three, and takes longer to find."""
STARTS = 2
"""Of grey noise: how many attempts begin for each manipulator that may be given up, each from other noise."""
REMAIN = ((0.33, 2, 1), (0.14, 2, STARTS))
"""Which manipulator grey noise gives up is found by trying: from which share of the steps on how many are still tried,
by how many attempts each. Where an attempt ends depends on where it begins, and shows after a third of the steps."""
DECIDED, LIKELY = 0.55, 0.1
"""From which share of the steps on one attempt remains, that which most likely changes all that it is to change; and
the logarithm by which a ratio that is above its threshold stays so in three of four cases."""
AT_ONCE = 4
"""Faces that are worked on together: of a grey photo each takes the memory of several."""
CONDITIONS, JUDGED = 32, 12
"""That pictures without any processing are looked at with, what the manipulators make of the face itself being kept;
and that attempts are judged by."""
MOMENTUM = 0.9
STEP_SHARE = 0.25
"""First step size over epsilon; it falls to a tenth of that."""
SHARPNESS, GREY_SHARPNESS = 4.0, 8.0
"""How hard the minimum of the three is."""
MARGIN, STEEPNESS = 0.4, 3.0
"""How far above its thresholds, as a logarithm, a manipulator is pushed; those that are near pull hardest, because the
gradient that one out of reach would take is lost to the others."""
STILL, ENOUGH = 0.1, 1.0
"""How much the others pull, and from where on none does."""
FOCUS, NEAR, MEMORY = 3.0, 0.8, 0.8
"""Of grey noise: how hard the least changed of the manipulators pulls, up to where any does, and how slowly who that is
changes."""
PLAIN_SHARE, GREY_PLAIN_SHARE = 0.3, 0.9
"""Of the steps: without any processing. Grey noise loses little to JPEG and half size without being made for them."""
HARDEST_REDUCER = "bilinear"
"""It shows least of the noise, and is looked through more often than all others together."""
OTHER_CROP = 0.1
"""By how much of its side a forger's crop may be wider, narrower or elsewhere."""
CROPS = 2
"""How much oftener than each other processing that is drawn."""

View = Callable[[Tensor, Sequence[str]], Tensor]
Made = TypeVar("Made")


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


def success(y: Tensor, y_p: Tensor, x: Tensor, x_p: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """The soft minimum ``[B]`` of :func:`ratios`, differentiable."""
    return -torch.logsumexp(-sharpness * ratios(y, y_p, x, x_p), 0) / sharpness


def ratios(y: Tensor, y_p: Tensor, x: Tensor, x_p: Tensor) -> Tensor:
    """The logarithms of the three ratios to ``sr_strict``'s thresholds ``[3, B]``, differentiable."""
    error = (y_p - y).square().mean((1, 2, 3))
    noise = (x_p - x).square().mean((1, 2, 3)).clamp_min(1e-4)
    a, b = (v.flatten(2) - v.flatten(2).mean(2, keepdim=True) for v in (y, y_p))
    explained = (a * b).sum(2).clamp_min(0).square() / b.square().sum(2).clamp_min(1e-6)
    total = a.square().sum((1, 2))
    lost = (total - explained.sum(1)) / total.clamp_min(1e-6)
    over = (error / SR_THRESHOLD, lost / UNRECOVERED_THRESHOLD, error / noise / AMPLIFICATION_THRESHOLD)
    return torch.stack([ratio.clamp_min(1e-4).log() for ratio in over])


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
        keys: theirs; the draws come from the first of each :data:`AT_ONCE`.
        manipulators: all of which are to be changed; of more than two, all but one where the photo is grey.
        epsilon: L_inf budget in [-1, 1] units.
        seen: what reductions show of each face's noise.
        grey: the same noise on all channels.
        steps: of the attack; by default :data:`STEPS` or :data:`GREY_STEPS`.
        seed: of the draws.

    Returns:
        ``[B, 3, S, S]``, within ``epsilon``.
    """
    if len(x) > AT_ONCE:
        groups = [slice(first, first + AT_ONCE) for first in range(0, len(x), AT_ONCE)]
        return torch.cat(
            [ensemble_noise(x[g], keys[g], manipulators, epsilon, seen[g], grey, steps, seed) for g in groups]
        )
    steps = (GREY_STEPS if grey else STEPS) if steps is None else steps
    target = _Target(x, keys, manipulators, seen, grey, generator(keys[0], "protect-photo", seed))
    attempts = _Attempts.begun(target, epsilon, give_up=grey and len(manipulators) > 2)
    for step in range(steps):
        attempts = attempts.narrowed(step / steps, target)
        attempts.climb(target, epsilon, STEP_SHARE * (1 - 0.9 * step / steps))
    return attempts.narrowed(1.0, target).noise


class _Sight(NamedTuple):
    """One way of looking at the faces.

    Attributes:
        px: the faces as they are seen ``[B, 3, S, S]``.
        named: what they are called, which chooses the manipulators' condition.
        reducer: of the enlarged photo.
        view: what a platform does with it, or ``None``.
    """

    px: Tensor
    named: list[str]
    reducer: str
    view: View | None


class _Target:
    """The faces of a photo, the manipulators that are to be changed, and how both are looked at."""

    def __init__(
        self,
        x: Tensor,
        keys: Sequence[str],
        manipulators: Sequence[Manipulator],
        seen: Sequence[Seen],
        grey: bool,
        draws: torch.Generator,
    ) -> None:
        self.x, self.keys, self.manipulators, self.seen = x, keys, manipulators, seen
        self.grey, self.draws = grey, draws
        self.sharpness = GREY_SHARPNESS if grey else SHARPNESS
        self.platform, self.reducers = views(), [*REDUCERS, *[HARDEST_REDUCER] * (len(REDUCERS) - 1)]
        self._known: dict[tuple[int, str], Tensor] = {}
        self._seconds = [0.0] * len(manipulators)
        self._side_by_side = x.device.type == "cpu" and all(model.thread_safe for model in manipulators)

    def draw(self, n: int) -> int:
        """A number below ``n``."""
        return int(torch.randint(n, (), generator=self.draws))

    def sight(self) -> _Sight:
        """The next way of looking."""
        plain = float(torch.rand((), generator=self.draws)) < (GREY_PLAIN_SHARE if self.grey else PLAIN_SHARE)
        named = [f"{key}#{self.draw(CONDITIONS if plain else 1 << 30)}" for key in self.keys]
        view = None if plain else self.platform[self.draw(len(self.platform))]
        reducer = self.reducers[self.draw(len(self.reducers))]
        return _Sight(view(self.x, named) if view else self.x, named, reducer, view)

    def protected(self, noise: Tensor, faces: Sequence[int], reducer: str) -> Tensor:
        """x_p ``[E, 3, S, S]`` as one reduction of the photo shows it, by noise ``[E, 3, S, S]`` for ``faces``."""
        noise = noise[:, :1] if self.grey else noise
        shown = torch.stack([self.seen[face](one, reducer) for face, one in zip(faces, noise, strict=True)])
        return (self.x[list(faces)] + shown).clamp(-1, 1)

    @torch.no_grad()
    def output(self, number: int, sight: _Sight) -> Tensor:
        """What a manipulator makes of the faces ``[B, 3, S, S]``."""
        model = self.manipulators[number]
        if sight.view is not None:
            return model.manipulate(sight.px, sight.named)
        for face, name in enumerate(sight.named):
            if (number, name) not in self._known:
                self._known[number, name] = model.manipulate(self.x[face : face + 1], [name])
        return torch.cat([self._known[number, name] for name in sight.named])

    def each(self, function: Callable[[int], Made]) -> list[Made]:
        """``function`` of the number of each manipulator, side by side where they allow it."""
        numbers = range(len(self.manipulators))
        if not self._side_by_side:
            return [function(number) for number in numbers]

        def timed(number: int) -> Made:
            began = time.thread_time()
            made = function(number)
            self._seconds[number] = time.thread_time() - began
            return made

        # Those that take longest first: no core then waits long for the other at the end.
        order = sorted(numbers, key=lambda number: -self._seconds[number])
        made = dict(zip(order, each(timed, order), strict=True))
        return [made[number] for number in numbers]


@dataclass
class _Attempts:
    """Noises that are being made.

    Attributes:
        faces: of each, which face it is for.
        against: of each, the numbers of the manipulators that it is to change.
        noise: ``[E, 3, S, S]``.
        velocity: likewise.
        lately: how far each changed each manipulator in the last steps ``[M, E]``.
    """

    faces: list[int]
    against: list[tuple[int, ...]]
    noise: Tensor
    velocity: Tensor
    lately: Tensor

    @classmethod
    def begun(cls, target: _Target, epsilon: float, give_up: bool) -> _Attempts:
        """One for each face; with ``give_up`` :data:`STARTS` for each manipulator that it may give up."""
        n, count = len(target.manipulators), len(target.x)
        sets = list(itertools.combinations(range(n), n - 1)) * STARTS if give_up else [tuple(range(n))]
        starts = [2 * torch.rand(target.x.shape, generator=target.draws) - 1 for _ in range(STARTS if give_up else 1)]
        each = len(sets) // len(starts)
        noise = torch.stack([start[face] for face in range(count) for start in starts for _ in range(each)])
        noise = _alike(epsilon * noise, target.grey).to(target.x)
        faces = [face for face in range(count) for _ in sets]
        return cls(faces, sets * count, noise, torch.zeros_like(noise), noise.new_zeros(n, len(faces)))

    def climb(self, target: _Target, epsilon: float, size: float) -> None:
        """One step of ``size`` epsilon."""
        sight = target.sight()
        noise = self.noise.requires_grad_()
        x_p = target.protected(noise, self.faces, sight.reducer)
        px_p = sight.view(x_p, [sight.named[face] for face in self.faces]) if sight.view else x_p
        before = px_p.detach()
        pulls = target.each(lambda number: self._pull(target, number, sight, before))
        self.lately = MEMORY * self.lately + (1 - MEMORY) * torch.stack([reached for _, reached in pulls])
        (gradient,) = torch.autograd.grad(px_p, noise, torch.stack([gradient for gradient, _ in pulls]).sum(0))
        gradient = _alike(gradient, target.grey)
        typical = gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
        self.velocity = MOMENTUM * self.velocity + gradient / typical
        self.noise = (noise.detach() + size * epsilon * self.velocity.sign()).clamp(-epsilon, epsilon)

    def _pull(self, target: _Target, number: int, sight: _Sight, px_p: Tensor) -> tuple[Tensor, Tensor]:
        """How far one manipulator is changed: the gradient at ``px_p`` ``[E, 3, S, S]``, and the value ``[E]``."""
        gradients, reached = torch.zeros_like(px_p), self.lately[number].clone()
        those = [i for i, numbers in enumerate(self.against) if number in numbers]
        if not those:
            return gradients, reached
        faces = [self.faces[i] for i in those]
        y = target.output(number, sight)[faces]
        part = px_p[those].requires_grad_()  # of this thread alone
        with torch.enable_grad():
            y_p = target.manipulators[number].manipulate(part, [sight.named[face] for face in faces])
            changed = success(y, y_p.clamp(-1.5, 1.5), sight.px[faces], part, target.sharpness)
            if target.grey:
                gain = self._weights()[number, those] * changed.clamp(max=NEAR)
            else:
                gain = torch.sigmoid(STEEPNESS * (changed - MARGIN)) + STILL * changed.clamp(max=ENOUGH)
        gradients[those] = torch.autograd.grad(gain.sum(), part)[0]
        reached[those] = changed.detach()
        return gradients, reached

    def _weights(self) -> Tensor:
        """How hard each manipulator pulls ``[M, E]``: the least changed of those that are not given up the hardest."""
        return (-FOCUS * self.lately).masked_fill(~self._wanted(), -math.inf).softmax(0)

    def _wanted(self) -> Tensor:
        wanted = [[number in numbers for numbers in self.against] for number in range(len(self.lately))]
        return torch.tensor(wanted, device=self.lately.device)

    def narrowed(self, share: float, target: _Target) -> _Attempts:
        """Those that remain from a share of the steps on; all where no more are there."""
        remain = [(1, 1)] if share >= DECIDED else [(sets, starts) for since, sets, starts in REMAIN if share >= since]
        if not remain or len(self.faces) <= math.prod(remain[0]) * len(target.x):
            return self
        sets, starts = remain[0]
        held = self._likely(target) if share >= DECIDED else self._least(target)
        chosen = []
        for face in range(len(target.x)):
            own = sorted((i for i, of in enumerate(self.faces) if of == face), key=lambda i: -float(held[i]))
            best = list(dict.fromkeys(self.against[i] for i in own))[:sets]
            chosen += sorted(i for of in best for i in [i for i in own if self.against[i] == of][:starts])
        return _Attempts(
            [self.faces[i] for i in chosen],
            [self.against[i] for i in chosen],
            self.noise[chosen],
            self.velocity[chosen],
            self.lately[:, chosen],
        )

    def _least(self, target: _Target) -> Tensor:
        """How far each attempt changes what it changes least ``[E]``."""
        return self._changed(target).amin(1).masked_fill(~self._wanted(), math.inf).amin(0)

    def _likely(self, target: _Target) -> Tensor:
        """The logarithm of how likely each attempt changes all that it is to change ``[E]``."""
        likely = torch.sigmoid(self._changed(target) / LIKELY).mean(1).clamp_min(1e-9).log()
        return likely.masked_fill(~self._wanted(), 0).sum(0)

    @torch.no_grad()
    def _changed(self, target: _Target) -> Tensor:
        """How far each manipulator is changed ``[M, JUDGED, E]``, seen through the reducers in turn."""
        reducers = itertools.cycle(REDUCERS)
        names = [[f"{key}#{number}" for key in target.keys] for number in range(JUDGED)]
        sights = [_Sight(target.x, named, next(reducers), None) for named in names]
        seen = {reducer: target.protected(self.noise, self.faces, reducer) for reducer in REDUCERS}

        def changed(number: int) -> Tensor:
            reached = []
            for sight in sights:
                x_p, named = seen[sight.reducer], [sight.named[face] for face in self.faces]
                y_p = target.manipulators[number].manipulate(x_p, named).clamp(-1, 1)
                y = target.output(number, sight)[self.faces]
                reached.append(ratios(y, y_p, target.x[self.faces], x_p).amin(0))
            return torch.stack(reached)

        return torch.stack(target.each(changed))


def _alike(noise: Tensor, grey: bool) -> Tensor:
    return noise.mean(1, keepdim=True).expand(noise.shape).contiguous() if grey else noise
