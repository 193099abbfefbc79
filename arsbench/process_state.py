"""What a method's code may disturb in the process that runs it: put back afterwards, and said in words.

A protector that leaves ``torch.set_default_dtype(torch.float64)`` behind, or moves a generator that another one draws
from, would change the rows of the methods that come after it, and these would be blamed.
"""

from __future__ import annotations

import contextlib
import gc
import locale
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from PIL import Image, ImageFile

CPU = torch.device("cpu")


class ProcessExit(SystemExit):
    """Code of a method called ``os._exit`` or ``os.abort``, which would have ended the process without a word."""


class Setting(NamedTuple):
    """One thing that code may change for all that comes after it; ``read`` gives what ``write`` takes."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _attribute(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _handler_of(name: str) -> Setting:
    number = getattr(signal, name)
    return Setting(
        f"the handler of {name}", lambda: signal.getsignal(number), lambda value: signal.signal(number, value)
    )


class _AtLeast(dict[str, Any]):
    """Equal to what holds all of it: a library that is imported may add to the environment."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and all(other.get(name) == value for name, value in self.items())


def _environment() -> _AtLeast:
    return _AtLeast({**dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME")), **os.environ})


def _put_environment_back(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _warnings_as_errors() -> list[Any]:
    return [entry for entry in warnings.filters if entry[0] == "error"]


def _put_filters_back(errors: list[Any]) -> None:
    warnings.filters[:] = [*errors, *(entry for entry in warnings.filters if entry[0] != "error")]  # type: ignore[index]
    with warnings.catch_warnings():
        pass  # that they changed is noticed on leaving


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _flushes_denormals() -> bool:
    return float(torch.tensor(1e-40, dtype=torch.float32, device="cpu") * 1.0) == 0.0


def _default_device() -> torch.device | None:
    device = torch.get_default_device()
    return None if device == CPU else device


OF_A_THREAD = (
    Setting("gradients on or off", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "autocast", lambda: torch.is_autocast_enabled("cpu"), lambda value: torch.set_autocast_enabled("cpu", value)
    ),
    Setting("flushing of denormal numbers", _flushes_denormals, torch.set_flush_denormal),
    Setting("torch's default device", _default_device, torch.set_default_device),
)
"""What each thread has of its own."""
OF_THE_PROCESS = (
    Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    Setting("deterministic algorithms", torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    Setting(
        "the precision of float32 products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    ),
    *(
        Setting(f"cudnn.{name}", *_attribute(torch.backends.cudnn, name))
        for name in ("enabled", "benchmark", "deterministic")
    ),
    Setting("torch's oneDNN", *_attribute(torch.backends.mkldnn, "enabled")),
    Setting("numpy's error handling", np.geterr, lambda value: np.seterr(**value)),
    Setting("the working folder", os.getcwd, os.chdir),
    *(Setting(f"sys.{name}", *_attribute(sys, name)) for name in ("stdout", "stderr")),
    Setting("the environment", _environment, _put_environment_back),
    Setting("warnings as errors", _warnings_as_errors, _put_filters_back),
    Setting(
        "the locale", lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)
    ),
    Setting("the umask", _umask, os.umask),
    Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("garbage collection", gc.isenabled, lambda value: gc.enable() if value else gc.disable()),
    Setting("Pillow's largest picture", *_attribute(Image, "MAX_IMAGE_PIXELS")),
    Setting("whether Pillow reads truncated files", *_attribute(ImageFile, "LOAD_TRUNCATED_IMAGES")),
    *(_handler_of(name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM") if hasattr(signal, name)),
)
"""What all threads share; looked at and put back from the main thread alone."""


@dataclass
class Disturbance:
    """What a piece of code changed, in words; all of it was put back.

    Attributes:
        settings: of torch, numpy and the process.
        generators: the global generators that it drew from or seeded.
    """

    settings: list[str] = field(default_factory=list)
    generators: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.settings or self.generators)


@contextlib.contextmanager
def undisturbed(
    seed: int | None = None, device: torch.device = CPU, put_generators_back: bool = True
) -> Iterator[Disturbance]:
    """Code of a method runs in here: what it changes is put back, and ``os._exit`` raises :class:`ProcessExit`.

    Args:
        seed: of torch's, numpy's and Python's global generators in here; ``None`` leaves them as they are.
        device: whose generator of torch's is seeded, too.
        put_generators_back: False where the generators are not looked at.

    Yields:
        What was disturbed; filled once the block is left, by an exception, too.
    """
    found = Disturbance()
    settings = _read(_of_this_thread())
    generators = _generators(device) if put_generators_back else {}
    if seed is not None:
        _seed(seed, device)
    began = _generators(device) if seed is not None else generators
    try:
        with exits_refused(), _streams_kept_open():
            yield found
    finally:
        found.settings += _put_back(_of_this_thread(), settings)
        if put_generators_back:
            ended = _generators(device)
            found.generators += [name for name in began if not _equal(began[name], ended[name])]
            if found.generators or seed is not None:
                _set_generators(generators, device)


@contextlib.contextmanager
def thread_undisturbed() -> Iterator[Disturbance]:
    """Of :func:`undisturbed` what concerns one thread of several."""
    found = Disturbance()
    before = _read(OF_A_THREAD)
    try:
        yield found
    finally:
        found.settings += _put_back(OF_A_THREAD, before)


@contextlib.contextmanager
def exits_refused() -> Iterator[None]:
    """In here ``os._exit`` and ``os.abort`` raise in this process; in a process forked from it they end it."""
    process = os.getpid()
    real = {name: getattr(os, name) for name in ("_exit", "abort")}
    if any(hasattr(function, "refuses") for function in real.values()):
        yield
        return

    def refusing(name: str) -> Callable[..., NoReturn]:
        def call(*arguments: object) -> NoReturn:
            if os.getpid() != process:
                real[name](*arguments)
            raise ProcessExit(f"os.{name}({', '.join(map(repr, arguments))})")

        call.refuses = True  # type: ignore[attr-defined]
        return call

    for name in real:
        setattr(os, name, refusing(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


@contextlib.contextmanager
def _streams_kept_open() -> Iterator[None]:
    """In here closing the process's output streams does nothing: what comes after has to be said, too."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
    for stream in streams:
        with contextlib.suppress(AttributeError):
            stream.close = lambda: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        for stream in streams:
            vars(stream).pop("close", None)


# --- settings -------------------------------------------------------------------------------------------------------


def _of_this_thread() -> tuple[Setting, ...]:
    main = threading.current_thread() is threading.main_thread()
    return (*OF_A_THREAD, *OF_THE_PROCESS) if main else OF_A_THREAD


def _read(settings: tuple[Setting, ...]) -> dict[str, Any]:
    values = {}
    for setting in settings:
        with contextlib.suppress(Exception):  # what cannot be read, such as a folder that is gone, cannot be compared
            values[setting.name] = setting.read()
    return values


def _put_back(settings: tuple[Setting, ...], before: Mapping[str, Any]) -> list[str]:
    changed = []
    after = _read(settings)
    for setting in settings:
        name = setting.name
        if name not in before or (name in after and before[name] == after[name]):
            continue
        with contextlib.suppress(Exception):
            setting.write(before[name])
        changed.append(f"{name} ({_said(before[name])} became {_said(after.get(name))})")
    return changed


def _said(value: object) -> str:
    """A setting's value, short enough for a sentence."""
    if isinstance(value, str | bool | int | torch.dtype | torch.device):
        return str(value)
    return "none" if value is None else type(value).__name__


# --- generators -----------------------------------------------------------------------------------------------------


def _generators(device: torch.device) -> dict[str, Any]:
    states: dict[str, Any] = {
        "torch's": torch.get_rng_state(),
        "numpy's": np.random.get_state(),  # noqa: NPY002 - the global one is what is looked at
        "Python's": random.getstate(),
    }
    if device.type == "cuda":
        states["CUDA's"] = torch.cuda.get_rng_state(device)
    return states


def _seed(seed: int, device: torch.device) -> None:
    # Of the CPU's and this device's generator alone, as torch.manual_seed does with them.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


def _set_generators(states: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["torch's"])
    np.random.set_state(states["numpy's"])  # noqa: NPY002
    random.setstate(states["Python's"])
    if "CUDA's" in states:
        torch.cuda.set_rng_state(states["CUDA's"], device)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, tuple) and any(isinstance(part, np.ndarray) for part in a):
        return len(a) == len(b) and all(map(np.array_equal, a, b))
    return bool(a == b)
