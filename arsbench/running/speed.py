"""How fast protectors are (Table 4 of the paper): warm, repeated, one face at a time, passes and memory counted."""

from __future__ import annotations

import functools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.contracts import ArsbenchError, Manipulator, Protector
from arsbench.faces.delivery import deliver
from arsbench.registry import describe
from arsbench.running.again import settings_like
from arsbench.running.engines.local import precise
from arsbench.running.parts import atomic
from arsbench.running.prepare import prepare
from arsbench.running.progress import NoProgress

FILE = "speed.json"
REPETITIONS = 5
FACES = 4
"""That a repetition protects, one after the other."""


@dataclass(frozen=True)
class Speed:
    """How fast one protector is against one manipulator.

    Attributes:
        protector: its name.
        manipulator: its name.
        device: ``cpu`` or ``cuda``.
        machine: the processor's or the GPU's name, and on a CPU the number of threads.
        seconds: per face, the median of the repetitions.
        fastest: the least of them.
        slowest: the most.
        repetitions: how many.
        faces: that each repetition protects.
        forward: passes of the manipulator for a face.
        backward: passes back through the manipulator for a face.
        network: passes of the protector's own network for a face; 0 where it has none.
        peak_mib: memory that protecting one face takes at its most, beyond what is loaded; ``None`` where unknown.
    """

    protector: str
    manipulator: str
    device: str
    machine: str
    seconds: float
    fastest: float
    slowest: float
    repetitions: int
    faces: int
    forward: float
    backward: float
    network: float
    peak_mib: float | None


def measure(run: Path, devices: Sequence[str] = (), progress: NoProgress | None = None) -> list[Speed]:
    """Times every protector of a run against every manipulator of it and keeps the times in the run's folder.

    Args:
        run: the run's folder; its rows are left as they are.
        devices: ``cpu``, ``cuda``; none: the CPU, and the GPU where there is one.
        progress: what is shown meanwhile.

    Raises:
        ArsbenchError: not a run, a method that cannot be loaded or fails, or no such device.
    """
    progress = progress or NoProgress()
    found: list[Speed] = []
    with progress, precise():
        for device in devices or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
            settings = replace(settings_like(run), device=device, identity=False, trained_on=None, level=0)
            prepared = prepare(replace(settings, images=FACES, perturbation="none"))
            x = deliver(prepared.source.batch(range(len(prepared.plan.images))).to(prepared.device))
            keys = [image.key for image in prepared.plan.images]
            budget = prepared.plan.epsilons[-1]
            wanted = {
                (name, model): made
                for (name, model, epsilon), made in prepared.protectors.items()
                if epsilon == budget and not made.ceiling
            }
            progress.start(len(wanted), 0, f"protectors on {device}")
            for (name, model), protector in wanted.items():
                try:
                    found.append(_measure(name, model, protector, x, keys))
                except ArsbenchError:
                    raise
                except Exception as error:  # the method may be a stranger's
                    raise ArsbenchError(f"protector '{name}' cannot be timed: {describe(error)}") from error
                progress.advance(1, f"{name} against {model}")
    with atomic(run / FILE) as file:
        file.write(json.dumps([asdict(speed) for speed in found], indent=1).encode())
    return found


def read(run: Path) -> list[Speed]:
    """The times that :func:`measure` kept; none where it was not run.

    Raises:
        ArsbenchError: the file cannot be read.
    """
    path = Path(run) / FILE
    if not path.exists():
        return []
    try:
        return [Speed(**entry) for entry in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError) as error:
        raise ArsbenchError(f"{path} cannot be read; measure again with: arsbench speed {run}") from error


def _measure(name: str, model: str, protector: Protector, x: Tensor, keys: Sequence[str]) -> Speed:
    device = x.device

    def protect_one(i: int) -> None:
        with torch.enable_grad():
            protector.protect(x[i : i + 1].clone(), keys[i : i + 1])
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    protect_one(0)
    taken = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        for i in range(len(keys)):
            protect_one(i)
        taken.append((time.perf_counter() - began) / len(keys))
    with _counted(protector) as counts:
        protect_one(0)
    return Speed(
        name,
        model,
        device.type,
        _machine(device),
        statistics.median(taken),
        min(taken),
        max(taken),
        REPETITIONS,
        len(keys),
        float(counts["forward"]),
        float(counts["backward"]),
        float(counts["network"]),
        _peak_mib(lambda: protect_one(0), device),
    )


@contextmanager
def _counted(protector: Protector) -> Iterator[dict[str, int]]:
    """Counts passes of the manipulators it holds, in pictures, and of the protector's own networks."""
    counts = {"forward": 0, "backward": 0, "network": 0}

    def counting(manipulate: Callable[[Tensor, Sequence[str]], Tensor], x: Tensor, keys: Sequence[str]) -> Tensor:
        counts["forward"] += len(x)
        y = manipulate(x, keys)
        if y.requires_grad:
            y.register_hook(lambda gradient: _add(counts, "backward", len(x)))  # type: ignore[no-untyped-call]
        return y

    held = vars(protector).values()
    models = {id(value): value for value in held if isinstance(value, Manipulator)}.values()
    networks = [value for value in held if isinstance(value, nn.Module)]
    hooks = [
        network.register_forward_hook(lambda module, given, made: _add(counts, "network", 1)) for network in networks
    ]
    for model in models:
        model.manipulate = functools.partial(counting, model.manipulate)  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        for model in models:
            del model.manipulate
        for hook in hooks:
            hook.remove()


def _add(counts: dict[str, int], name: str, many: int) -> None:
    counts[name] += many


def _peak_mib(work: Callable[[], None], device: torch.device) -> float | None:
    """The most memory that tensors take at once while ``work`` is done, beyond what there was before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    activities = [torch.profiler.ProfilerActivity.CPU]
    with _quiet(), torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        work()
    changes = [event for event in _events(profile) if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most / 2**20 if changes else None


@contextmanager
def _quiet() -> Iterator[None]:
    """The profiler's native code writes lines of its own where only the caller should."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept, nothing = {place: os.dup(place) for place in (1, 2)}, os.open(os.devnull, os.O_WRONLY)
    for place in kept:
        os.dup2(nothing, place)
    try:
        yield
    finally:
        for place, before in kept.items():
            os.dup2(before, place)
            os.close(before)
        os.close(nothing)


def _events(profile: Any) -> Sequence[Any]:
    results = getattr(profile.profiler, "kineto_results", None)
    return results.events() if results is not None else ()


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        facts = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((fact.partition(":")[2].strip() for fact in facts if "model name" in fact), name)
    except OSError:  # no such file on this system
        pass
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"
