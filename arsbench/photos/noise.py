"""Noise for the crops of a photo, by the ensemble attack or by any registered protector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from arsbench import registry
from arsbench.contracts import ArsbenchError, Manipulator, Protector
from arsbench.faces.delivery import audit
from arsbench.photos.attack import ensemble_noise, success
from arsbench.photos.enlarge import Seen
from arsbench.registry import Method, describe
from arsbench.running.loading import make_protector

ENSEMBLE = "ensemble"
"""The attack of :mod:`arsbench.photos.attack`, which no other command knows."""


class Gathered(Manipulator):
    """Several manipulators as one, their outputs side by side: what a gradient protector attacks all of at once."""

    name = "all"

    def __init__(self, members: Sequence[Manipulator]) -> None:
        self.members = list(members)
        self.track_of = members[0].track
        super().__init__(members[0].device)
        # Protectors ask the object; the class stands for no track.
        self.track = self.track_of  # type: ignore[misc]

    def manipulate(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """``x`` [B, 3, S, S] -> ``[B, 3, S, n S]``."""
        return torch.cat([member.manipulate(x, keys) for member in self.members], 3)


def noise_for(
    protector: str,
    x: Tensor,
    keys: Sequence[str],
    manipulators: Sequence[Manipulator],
    epsilon: float,
    seen: Sequence[Seen],
    grey: bool,
    seed: int,
) -> Tensor:
    """Noise ``[B, 3, S, S]`` within ``epsilon``, as it is to be enlarged.

    A registered protector is corrected for what enlarging and reducing take away. One that is trained against single
    manipulators is tried against each of them; each face gets the noise that changes most of them.

    Args:
        protector: ``ensemble``, a registered name, ``FILE.py:Class`` or a class.
        x: reduced crops ``[B, 3, S, S]`` in [-1, 1].
        keys: theirs.
        manipulators: to be protected against.
        epsilon: L_inf budget in [-1, 1] units.
        seen: what reductions show of each crop's noise.
        grey: the same noise on all channels.
        seed: of the draws.

    Raises:
        ArsbenchError: no such protector, or it has no weights against any of the manipulators.
    """
    if protector == ENSEMBLE:
        return ensemble_noise(x, keys, manipulators, epsilon, seen, grey, seed=seed)
    method = registry.find("protector", protector)
    candidates = [_corrected(wanted, seen, grey) for wanted in _wanted(method, x, keys, manipulators, epsilon, seed)]
    if len(candidates) == 1:
        return candidates[0]
    reached = torch.stack([_reached(noise, x, keys, manipulators, seen) for noise in candidates])
    best = reached.argmax(0)
    return torch.stack([candidates[int(choice)][i] for i, choice in enumerate(best)])


def _wanted(
    method: Method, x: Tensor, keys: Sequence[str], manipulators: Sequence[Manipulator], epsilon: float, seed: int
) -> list[Tensor]:
    """What the protector adds to ``x``: against all at once, or where it cannot, against each that it can."""
    every: Sequence[Manipulator] = manipulators if len(manipulators) == 1 else [Gathered(manipulators)]
    for against in (every, manipulators):
        protectors, refusals = [], []
        for model in against:
            try:
                protectors.append(make_protector(method, model, epsilon, seed))
            except ArsbenchError as error:
                refusals.append(error)
        if protectors:
            break
    else:
        raise refusals[0]
    return [_delivered(protector, x, keys, epsilon) - x for protector in protectors]


def _delivered(protector: Protector, x: Tensor, keys: Sequence[str], epsilon: float) -> Tensor:
    """What a protector, who may be a stranger's, makes of each picture by itself."""
    made = []
    for i, key in enumerate(keys):
        one = x[i : i + 1]
        try:
            x_p = protector.protect(one.clone(), [key])
        except ArsbenchError:
            raise
        except Exception as error:
            raise ArsbenchError(f"protector '{protector.name}' failed: {describe(error)}") from error
        made.append(audit(one, x_p, epsilon, protector.name, [key]))
    return torch.cat(made)


def _corrected(wanted: Tensor, seen: Sequence[Seen], grey: bool) -> Tensor:
    if grey:
        wanted = wanted.mean(1, keepdim=True).expand(wanted.shape)
    return torch.stack([shows.corrected(noise) for noise, shows in zip(wanted, seen, strict=True)])


@torch.no_grad()
def _reached(
    noise: Tensor, x: Tensor, keys: Sequence[str], manipulators: Sequence[Manipulator], seen: Sequence[Seen]
) -> Tensor:
    """How many manipulators each face's noise changes ``[B]``, and by how much where that is equal."""
    x_p = (x + torch.stack([shows(n, "bilinear") for n, shows in zip(noise, seen, strict=True)])).clamp(-1, 1)
    each = torch.stack(
        [success(m.manipulate(x, keys), m.manipulate(x_p, keys).clamp(-1, 1), x, x_p) for m in manipulators]
    )
    return (each > 0).sum(0) + torch.sigmoid(each.mean(0))
