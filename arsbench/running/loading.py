"""Makes objects of the registered classes: the device, a manipulator, a protector."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from arsbench.contracts import ArsbenchError, Manipulator, Perturbation, Protector
from arsbench.draws import draw
from arsbench.faces.tracks import conditions_of
from arsbench.process_state import undisturbed
from arsbench.registry import Method, describe


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """``auto`` is the first CUDA device, or the CPU where there is none.

    Raises:
        ArsbenchError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ArsbenchError(f"unknown device '{name}'; give auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise ArsbenchError(f"device '{name}' is not supported; give auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ArsbenchError(f"there is no device '{name}' on this machine; give auto or cpu")
    return device


Note = Callable[[Sequence[str]], None]
"""Is given sentences about what the making of an object disturbed."""


def _unheard(sentences: Sequence[str]) -> None:
    """Where nobody is to be told."""


def make_manipulator(
    method: Method,
    track: str,
    device: torch.device,
    condition: Any = None,
    random_weights: bool = False,
    note: Note = _unheard,
) -> Manipulator:
    """An object of a manipulator's class for ``track``, with the track's condition faces.

    A class need not take the arguments of the base class: those it does not name are set as attributes.

    Args:
        method: the manipulator.
        track: ``open`` or ``paper``.
        device: where it computes.
        condition: for every image, or ``None``.
        random_weights: run a model of the paper track at its full size with random weights, to measure speed.
        note: is given sentences about what its constructor disturbed.

    Raises:
        ArsbenchError: it is not of this track, or cannot be made.
    """
    try:
        cls = method.cls.on(track)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the class may be a stranger's
        raise ArsbenchError(f"manipulator '{method.name}' cannot be made: {describe(error)}") from error
    if cls is None:
        raise ArsbenchError(
            f"manipulator '{method.name}' is of track '{method.cls.track}', not '{track}'; "
            f"give --track {method.cls.track}"
        )
    faces, keys = conditions_of(track)
    wanted = {"device": device, "condition": condition, "condition_faces": faces, "condition_keys": keys}
    if random_weights:
        if not cls.checkpoints:
            raise ArsbenchError(f"manipulator '{method.name}' of track '{track}' does not run with random weights")
        wanted["random_weights"] = True
    model = _make(dataclasses.replace(method, cls=cls), Manipulator, wanted, note)
    if not isinstance(model, Manipulator):
        raise ArsbenchError(f"manipulator '{method.name}' did not make a Manipulator")
    return model


def make_protector(
    method: Method, manipulator: Manipulator, epsilon: float, seed: int = 0, note: Note = _unheard
) -> Protector:
    """An object of a protector's class against ``manipulator``; arguments as in :func:`make_manipulator`.

    Raises:
        ArsbenchError: it cannot be made.
    """
    wanted = {"manipulator": manipulator, "epsilon": float(epsilon), "seed": int(seed)}
    protector = _make(method, Protector, wanted, note)
    if not isinstance(protector, Protector):
        raise ArsbenchError(f"protector '{method.name}' did not make a Protector")
    return protector


def make_perturbation(method: Method, note: Note = _unheard) -> Perturbation:
    """An object of a perturbation's class.

    Raises:
        ArsbenchError: it cannot be made.
    """
    perturbation = _make(method, Perturbation, {}, note)
    if not isinstance(perturbation, Perturbation):
        raise ArsbenchError(f"perturbation '{method.name}' did not make a Perturbation")
    return perturbation


def _make(method: Method, base: type, wanted: Mapping[str, Any], note: Note) -> object:
    own = method.cls.__init__
    taken = inspect.signature(own).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken)
    names = {parameter.name for parameter in taken if parameter.kind is not parameter.POSITIONAL_ONLY}
    accepted = {name: value for name, value in wanted.items() if takes_all or name in names}
    who = f"{method.kind} '{method.name}'"
    try:
        # A constructor that draws, be it the first weights of a network, draws the same in every process.
        with undisturbed(draw(method.name, f"make {method.kind}")) as found:
            made: object = object.__new__(method.cls)
            if accepted.keys() != wanted.keys():
                # One of one's own need not call the base's: what a method relies on is there before and after.
                base.__init__(made, **wanted)  # type: ignore[misc]
                before = dict(vars(made))
                own(made, **accepted)
                for name in wanted.keys() - accepted.keys() - {"device"}:
                    setattr(made, name, before[name])
            else:
                own(made, **accepted)
    except ArsbenchError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the class may be a stranger's
        raise ArsbenchError(f"{who} cannot be made: {describe(error)}") from error
    if found.settings:
        note([f"{who} left behind {', '.join(found.settings)} when it was made; it was put back"])
    return made
