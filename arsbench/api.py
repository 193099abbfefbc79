"""The Python interface: run a benchmark, or take its parts - faces, manipulators, protectors, perturbations, scores."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from arsbench import registry
from arsbench.contracts import ArsbenchError, Manipulator, Pair, Protector
from arsbench.faces.delivery import OVERSHOOT, deliver, other_range
from arsbench.faces.tracks import faces_of
from arsbench.photos.memory import Picture, protect_image
from arsbench.photos.protect import PhotoProtector, Wanted
from arsbench.protocol import check_track
from arsbench.registry import Names
from arsbench.reports.run import run_with_reports
from arsbench.running.checks import check_epsilon, check_number
from arsbench.running.evaluate import perturbed
from arsbench.running.loading import choose_device, make_manipulator, make_perturbation, make_protector
from arsbench.running.progress import make_progress
from arsbench.running.results import read_runs
from arsbench.running.settings import DEFAULTS, Settings
from arsbench.scoring.scorer import Scorer

WANTED = Wanted()
"""The defaults of ``protect``."""


def run(
    protector: Names = DEFAULTS.protector,
    manipulator: Names = DEFAULTS.manipulator,
    perturbation: Names = DEFAULTS.perturbation,
    level: str | int | Sequence[int] = DEFAULTS.level,
    images: int | None = DEFAULTS.images,
    track: str = DEFAULTS.track,
    epsilon: float | str | Sequence[float] = DEFAULTS.epsilon,
    seed: int = DEFAULTS.seed,
    device: str = DEFAULTS.device,
    out: str | Path | None = DEFAULTS.out,
    *,
    faces: str | Path | None = DEFAULTS.faces,
    skip_bad: bool = DEFAULTS.skip_bad,
    batch: int | None = DEFAULTS.batch,
    cache: bool = DEFAULTS.cache,
    identity: bool = DEFAULTS.identity,
    weights: str = DEFAULTS.weights,
    precision: str = DEFAULTS.precision,
    trained_on: Names | None = DEFAULTS.trained_on,
    engine: str = DEFAULTS.engine,
    workers: int = DEFAULTS.workers,
    address: str | None = DEFAULTS.address,
    hung_after: float = DEFAULTS.hung_after,
    progress: bool = False,
) -> pd.DataFrame:
    """Runs protectors and the controls against manipulators under perturbations.

    Args:
        protector: a name, a comma list, ``all``, ``FILE.py:Class``, a class, or a sequence of these.
        manipulator: likewise.
        perturbation: likewise; also a named set such as ``paper-six``, or ``none`` for level 0 alone.
        level: ``all``, ``"0,3,5"``, ``"1-5"``, or numbers; level 0 is always evaluated.
        images: how many; of a folder at most so many. ``None``: 100 shipped faces, or all pictures of the folder.
        track: ``open`` or ``paper``.
        epsilon: L_inf budget in [-1, 1] units, or several, as numbers or ``"0.1,0.3,0.5"``.
        seed: of the protectors' draws.
        device: ``auto``, ``cpu`` or ``cuda``.
        out: a folder, in which a run that was begun there goes on; ``None`` keeps nothing on disk.
        faces: a folder of pictures in place of the shipped faces.
        skip_bad: leave out pictures that cannot be read, instead of refusing the folder.
        batch: images at a time; the rows do not depend on it. ``None``: as many as fit, see
            :mod:`arsbench.running.engines.batch_size`.
        cache: read, and with ``out`` write, the references of earlier runs.
        identity: compute the identity columns, too, with a face recogniser; takes about twice as long.
        weights: ``own``, or ``random`` to measure the speed of the paper track's models without their checkpoints; rows
            say so, and no table takes them.
        precision: of the manipulators' passes: ``float32``, or ``bfloat16`` for speed on a GPU. What protectors compute
            stays in float32.
        trained_on: the manipulators that the protectors are made against, to see whether they protect against others;
            names as of ``manipulator``. ``None``: each is made against the one that it is evaluated on.
        engine: ``local``, or ``ray``.
        workers: processes that compute side by side, or actors of Ray; more than one needs ``out``.
        address: of a Ray cluster; ``None``: Ray on this machine.
        hung_after: seconds without a row after which a worker is ended and replaced.
        progress: show a progress bar on stderr.

    Returns:
        One row per image and cell, the columns of :mod:`arsbench.rows`, by protector, epsilon, what it was made
        against, manipulator, perturbation, level, image. Cells that failed are left out, with a warning; ``attrs`` has
        ``void`` and ``failures``.

    Raises:
        ArsbenchError: an unknown name, an unusable value, an output folder that cannot be written.
    """
    settings = Settings(
        protector=protector,
        manipulator=manipulator,
        perturbation=perturbation,
        level=level,
        images=images,
        track=track,
        epsilon=epsilon,
        seed=seed,
        device=device,
        out=out,
        faces=faces,
        skip_bad=skip_bad,
        batch=batch,
        cache=cache,
        identity=identity,
        weights=weights,
        precision=precision,
        trained_on=trained_on,
        engine=engine,
        workers=workers,
        address=address,
        hung_after=hung_after,
    )
    outcome = run_with_reports(settings, make_progress(progress))
    _warn([*outcome.notes, *outcome.sentences])
    outcome.rows.attrs = {"void": outcome.void, "failures": [failure.sentence for failure in outcome.failures]}
    return outcome.rows


def load_results(*runs: str | Path) -> pd.DataFrame:
    """The rows of runs together, as :func:`run` returns them.

    Args:
        runs: the runs' folders.

    Returns:
        One row per image and cell, the columns of :mod:`arsbench.rows`. What several runs have, the controls, stands
        once. Cells that failed are left out, with a warning; ``attrs["void"]`` says why a run is void, or ``None``.

    Raises:
        ArsbenchError: no run is given, one cannot be read, or they cannot be compared: different protocols or tracks,
            different pictures of one name, or one cell made in different ways.
    """
    if not runs:
        raise ArsbenchError("no run is given; give the folders of one or more runs")
    rows, void, notes = read_runs([Path(run) for run in runs])
    for sentence in notes:
        warnings.warn(sentence, stacklevel=2)
    rows.attrs = {"void": void}
    return rows


def load_faces(track: str = "open", split: str = "test", n: int = 100) -> tuple[Tensor, list[str]]:
    """The first ``n`` faces of a split.

    Args:
        track: ``open``, or ``paper`` where the user's faces were added.
        split: ``train``, ``val`` or ``test``.
        n: how many.

    Returns:
        Delivered faces ``[n, 3, H, W]``, float32 in [-1, 1], and their keys.

    Raises:
        ArsbenchError: no such track or split, or not so many faces.
    """
    check_track(track)
    check_number("n", n, 1)
    source = faces_of(track, split, n)
    return source.batch(range(n)), source.keys


def load_manipulator(
    name: str | type[Manipulator], track: str = "open", device: str | torch.device = "cpu", condition: Any = None
) -> Manipulator:
    """A manipulator G; ``.manipulate(x, keys)`` gives its raw output, differentiable in x.

    Args:
        name: a registered name, ``FILE.py:Class`` or a class.
        track: ``open`` or ``paper``.
        device: ``auto``, ``cpu`` or ``cuda``.
        condition: for ``psp-mix`` a face ``[1, 3, H, W]``, ``"random"`` or a z ``[1, 512]``; by default every image's
            key chooses one of the shipped condition faces.

    Raises:
        ArsbenchError: unknown name, track, device or condition; damaged weights.
    """
    check_track(track)
    return make_manipulator(registry.find("manipulator", name), track, choose_device(device), condition)


def load_protector(
    name: str | type[Protector],
    manipulator: str | Manipulator | type[Manipulator],
    epsilon: float = 0.3,
    seed: int = 0,
    track: str = "open",
    device: str | torch.device = "cpu",
) -> Protector:
    """A protector P against a manipulator; ``.protect(x, keys)`` gives x_p.

    Args:
        name: a registered name, ``FILE.py:Class`` or a class.
        manipulator: an object, or a name to load.
        epsilon: L_inf budget in [-1, 1] units.
        seed: of the protector's draws.
        track: of the manipulator, where it is loaded by name.
        device: of the manipulator, where it is loaded by name.

    Raises:
        ArsbenchError: unknown names, no weights for that manipulator, an epsilon that is not in (0, 2].
    """
    check_epsilon(epsilon)
    check_number("seed", seed, -(2**63))
    method = registry.find("protector", name)
    if not isinstance(manipulator, Manipulator):
        manipulator = load_manipulator(manipulator, track, device)
    return make_protector(method, manipulator, epsilon, seed)


def perturb(x: Tensor, name: str, level: int, keys: Sequence[str], track: str = "open") -> Tensor:
    """deliver(p_l(deliver(x))): what a platform makes of pictures, as 8 bit.

    Args:
        x: ``[B, 3, H, W]`` in [-1, 1].
        name: a registered perturbation, ``FILE.py:Class``, or ``none``.
        level: 0 (delivery alone) to 5.
        keys: the B images' keys, from which all draws come.
        track: whose levels.

    Returns:
        Delivered pictures ``[B, 3, H, W]``, float32.

    Raises:
        ArsbenchError: an unknown name, level or track, or pictures and keys that do not fit.
    """
    check_track(track)
    _check_pictures("x", x)
    if float(x.abs().max()) > OVERSHOOT:
        _check_range({"x": x})
    if isinstance(keys, str) or len(keys) != len(x) or not all(isinstance(key, str) for key in keys):
        raise ArsbenchError(f"keys must be a list of {len(x)} strings, one for each picture")
    if not isinstance(level, int) or level not in registry.LEVELS:
        raise ArsbenchError(f"level is {level!r}; give a level from 0 to {registry.LEVELS[-1]}")
    method = None if name == "none" else registry.find("perturbation", name)
    if method is None and level > 0:
        raise ArsbenchError("perturbation 'none' has level 0 alone")
    x = deliver(x.float())
    if method is None or level == 0:
        return x
    notes: list[str] = []
    made = perturbed(
        make_perturbation(method, notes.extend), method.cls.track_levels(track)[level - 1], x, keys, notes.extend
    )
    _warn(notes)
    return made


ALIKE = (("x_p", "x"), ("x", "x_p"), ("px", "x"), ("x", "px"), ("px_p", "px"))
"""Inputs of a score of which one is a changed copy of the other; outputs may be as bright as they like."""


def score(
    y: Tensor,
    y_p: Tensor,
    x: Tensor | None = None,
    x_p: Tensor | None = None,
    y_clean: Tensor | None = None,
    px: Tensor | None = None,
    px_p: Tensor | None = None,
) -> dict[str, Tensor]:
    """Every metric of the protocol that the given pictures allow, per image.

    Args:
        y: the reference G(p(x)), ``[B, 3, H, W]``; outputs are clamped to [-1, 1] here.
        y_p: the protected output G(p(x_p)).
        x: the source face; for ``sr_mask``, and for ``amplification`` where ``px`` is missing.
        x_p: the protected face, delivered; for ``amplification`` where ``px_p`` is missing.
        y_clean: G(x), for the mask of ``sr_mask``; ``y`` where missing.
        px: p(x), delivered.
        px_p: p(x_p), delivered.

    Returns:
        float32 ``[B]`` by name: mse, psnr, lpips, ssim, sr, sr_mask, amplification, unrecovered, sr_strict and
        ``sr_mask:icml2026``. A metric whose inputs are missing is absent; lpips is absent below 31 pixels.

    Raises:
        ArsbenchError: something is no picture ``[B, 3, H, W]``, shapes differ, values are not finite, or look like
            [0, 1] or [0, 255], or pictures are below 11 pixels.
    """
    given = {"y": y, "y_p": y_p, "x": x, "x_p": x_p, "y_clean": y_clean, "px": px, "px_p": px_p}
    for name, value in given.items():
        if value is not None or name in ("y", "y_p"):
            _check_pictures(name, value)
    pictures = {name: None if value is None else value.float() for name, value in given.items()}
    _check_range({name: value for name, value in pictures.items() if value is not None})
    return Scorer(y.device).score(Pair(**pictures))  # type: ignore[arg-type]  # y and y_p are there


def _warn(sentences: Sequence[str]) -> None:
    for sentence in dict.fromkeys(sentences):
        warnings.warn(sentence, stacklevel=3)


def protect(
    image: Picture,
    protector: str = WANTED.protector,
    manipulator: str = WANTED.manipulator,
    strength: str = WANTED.strength,
    epsilon: float | None = WANTED.epsilon,
    faces: str = WANTED.faces,
    *,
    keep_location: bool = WANTED.keep_location,
    again: bool = WANTED.again,
    seed: int = WANTED.seed,
    track: str = WANTED.track,
    device: str = WANTED.device,
) -> Picture:
    """Protects a photo at its full size: noise made at the manipulators' size is enlarged and added to the original.

    Args:
        image: a PIL image, or uint8 pixels ``[H, W]``, ``[H, W, 3]`` or ``[H, W, 4]``.
        protector: ``ensemble``, a registered name, or ``FILE.py:Class``.
        manipulator: to be protected against: a name, a comma list, or ``all``.
        strength: ``low``, ``medium`` or ``high``: at most 12, 25 or 38 levels of 255.
        epsilon: L_inf budget in [-1, 1] units, in place of ``strength``.
        faces: ``all`` or ``largest`` of those found, a box ``LEFT,TOP,RIGHT,BOTTOM``, or ``none``: the whole picture.
        keep_location: keep the place in a PIL image's EXIF block.
        again: protect an image that was protected already.
        seed: of the draws.
        track: whose manipulators.
        device: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        A copy, of the type it was given, of the same size and mode.

    Raises:
        ArsbenchError: an unknown name or unusable value, no face, or an image that was protected already.
    """
    wanted = Wanted(
        protector=protector,
        manipulator=manipulator,
        strength=strength,
        epsilon=epsilon,
        faces=faces,
        keep_location=keep_location,
        again=again,
        seed=seed,
        track=track,
        device=device,
    )
    return protect_image(image, PhotoProtector(wanted))


def _check_pictures(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise ArsbenchError(f"{name} is {type(value).__name__}; give a float tensor [B, 3, H, W] in [-1, 1]")
    if value.ndim != 4 or value.shape[1] != 3 or 0 in value.shape or not value.is_floating_point():
        said = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        raise ArsbenchError(f"{name} is {said}; give a float tensor [B, 3, H, W] in [-1, 1]")
    if not bool(torch.isfinite(value).all()):
        raise ArsbenchError(f"{name} holds NaN or infinite values; give pictures in [-1, 1]")


def _check_range(given: Mapping[str, Tensor]) -> None:
    """Refuses pictures of another range: half of it would make every MSE a quarter."""
    # One colour, such as the all-white ceiling, says nothing of the range.
    spread = {name: x for name, x in given.items() if float((x.amax((1, 2, 3)) - x.amin((1, 2, 3))).max()) > 0.02}
    ranges = {name: (float(x.min()), float(x.max())) for name, x in spread.items()}
    for name, (low, high) in ranges.items():
        if low >= 0 and high > OVERSHOOT:
            raise ArsbenchError(f"{name} looks like [0, 255]; give pictures in [-1, 1]: x / 127.5 - 1")
        # A bright picture may have no value below 0, but hardly all of several, nor one that ends at 0 and at 1.
        if low >= 0 and (all(value[0] >= 0 for value in ranges.values()) or (low < 0.05 and high > 0.95)):
            raise ArsbenchError(f"{name} looks like [0, 1]; give pictures in [-1, 1]: 2 * x - 1")
    for name, of in ALIKE:
        alike = name in spread and of in spread and spread[name].shape == spread[of].shape
        if alike and other_range(spread[name], spread[of].to(spread[name])):
            raise ArsbenchError(f"{name} looks like [0, 1]; give pictures in [-1, 1]: 2 * x - 1")
