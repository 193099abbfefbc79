"""How far each target can be reached at all: every picture optimised by itself. ``python docs/ceilings.py``.

Signed steps with momentum on validation faces, to white, to black, or away from y; as the picture is, and through a
random one of the six perturbations per step. For each manipulator a line per target: the mse to the target before and
after, then mse / SR / sr_strict / unrecovered without perturbation of what was optimised as it is, and as the mean over
the six at level 5 of what was optimised through perturbations.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

import arsbench
from arsbench.contracts import Manipulator
from arsbench.draws import generator
from arsbench.faces.delivery import deliver
from arsbench.protectors.ascent import gradient, project, random_start
from arsbench.protectors.random_perturbation import SIX, RandomPerturbation

FIRST = 16
"""Validation faces before this one are the fixed conditions."""
MOMENTUM = 0.9
STEP_SHARE = 0.1
TARGETS: dict[str, float | None] = {"white": 1.0, "black": -1.0, "away from y": None}
WATCHED = ("mse", "sr", "sr_strict", "unrecovered")


def gain(y_p: Tensor, y: Tensor, target: float | None) -> Tensor:
    """What is maximised, summed over the faces: less the mse to the target, or the mse from y."""
    to = y if target is None else torch.full_like(y, target)
    mse = (y_p - to).square().mean((1, 2, 3)).sum()
    return mse if target is None else -mse


def optimise(
    model: Manipulator, x: Tensor, keys: list[str], target: float | None, epsilon: float, steps: int, perturbed: bool
) -> Tensor:
    """x_p ``[B, 3, H, W]``, delivered, after ``steps`` signed steps with momentum."""
    draws = [generator(key, "ceilings") for key in keys]
    x_p, velocity = random_start(x, keys, epsilon, "ceilings-start", 0), torch.zeros_like(x)
    for step in range(steps):
        meets: list[Callable[[Tensor], Tensor]] = [lambda picture: picture] * len(keys)
        if perturbed:
            named = [f"{key}#{step}" for key in keys]
            drawn = [RandomPerturbation.draw(draw, model.track) for draw in draws]
            meets = [lambda picture, p=p, key=key: p(picture, [key]) for p, key in zip(drawn, named, strict=True)]

        def met(picture: Tensor, meets: list[Callable[[Tensor], Tensor]] = meets) -> Tensor:
            return torch.cat([p(picture[i : i + 1]) for i, p in enumerate(meets)])

        with torch.no_grad():
            y = model.manipulate(met(x), keys)

        def loss(x_p: Tensor, y: Tensor = y, met: Callable[[Tensor], Tensor] = met) -> Tensor:
            return gain(model.manipulate(met(x_p), keys), y, target)

        slope = gradient(loss, x_p)
        velocity = MOMENTUM * velocity + slope / slope.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
        x_p = project(x_p + STEP_SHARE * epsilon * velocity.sign(), x, epsilon)
    return deliver(x_p)


@torch.no_grad()
def reached(model: Manipulator, x: Tensor, x_p: Tensor, keys: list[str], level: int) -> str:
    """mse / SR / sr_strict / unrecovered, means over the faces; over the six too unless ``level`` is 0."""
    scores = []
    for kind in SIX if level else [None]:
        px, px_p = (p if kind is None else arsbench.perturb(p, kind.name, level, keys) for p in (x, x_p))
        outputs = (model.manipulate(p, keys).clamp(-1, 1) for p in (px, px_p))
        score = arsbench.score(*outputs, px=px, px_p=px_p)
        scores.append([float(score[metric].mean()) for metric in WATCHED])
    return " / ".join(f"{value:.2f}" for value in torch.tensor(scores).mean(0).tolist())


def main() -> None:
    """Prints a Markdown table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--manipulator", default="psp-mix,psp-recon,styleclip,simswap")
    options.add_argument("--faces", type=int, default=12)
    options.add_argument("--steps", type=int, nargs=2, default=(60, 100), help="as it is, and through perturbations")
    options.add_argument("--epsilon", type=float, default=0.3)
    chosen = options.parse_args()
    x, keys = (part[FIRST:] for part in arsbench.load_faces(split="val", n=FIRST + chosen.faces))
    print("| manipulator | target | mse to it, before and after | clean: no perturbation | perturbed: level 5 |")
    print("|---|---|---|---|---|")
    for name in chosen.manipulator.split(","):
        model = arsbench.load_manipulator(name)
        for target, value in TARGETS.items():
            plain, robust = (
                optimise(model, x, keys, value, chosen.epsilon, steps, perturbed)
                for steps, perturbed in zip(chosen.steps, (False, True), strict=True)
            )
            distances = ""
            if value is not None:
                with torch.no_grad():
                    outputs = [model.manipulate(p, keys).clamp(-1, 1) for p in (x, plain)]
                distances = ", ".join(f"{float((y - value).square().mean()):.2f}" for y in outputs)
            levels = (reached(model, x, plain, keys, 0), reached(model, x, robust, keys, 5))
            print(f"| {name} | {target} | {distances} | {' | '.join(levels)} |", flush=True)


if __name__ == "__main__":
    main()
