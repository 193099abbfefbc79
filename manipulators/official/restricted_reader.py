"""Reads what ``torch.save`` wrote without running anything that stands in it.

A pickle is a program: it names functions and calls them. This reader knows the few functions that rebuild tensors, and
stubs in place of the classes that official checkpoints were pickled with; it calls those and nothing else. Both
containers are read, the zip of PyTorch 1.6 and the older stream.
"""

from __future__ import annotations

import collections
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from arsbench.contracts import ArsbenchError


class Stub:
    """Stands in for an instance of a class that is not there: holds the state, computes nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> Stub:
        """Whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass


_REBUILDERS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    **{(module, name): kind for module in ("builtins", "__builtin__") for name, kind in (("set", set), ("dict", dict))},
}
"""The only functions and classes that are called as what they are."""

_STUBBED = {
    "models": ("ResNet", "IRBlock", "SEBlock", "ArcMarginModel"),
    "models.arcface_models": ("ResNet", "IRBlock", "SEBlock", "ArcMarginModel"),
    "optimizer": ("InsightFaceOptimizer",),
    "argparse": ("Namespace",),
    "torch.optim.sgd": ("SGD",),
    "torch.optim.adam": ("Adam",),
    "torch.nn.parallel.data_parallel": ("DataParallel",),
    "numpy": ("dtype",),
    "numpy.core.multiarray": ("scalar",),
    "numpy._core.multiarray": ("scalar",),
}
_STUBBED_MODULES = "torch.nn.modules."
"""PyTorch's layers, all of them."""


_LOAD_REDUCE = pickle._Unpickler.dispatch[pickle.REDUCE[0]]


class Refused(Exception):
    """The pickle names something that would be run."""


class _Unpickler(pickle._Unpickler):
    """The pure Python unpickler, whose opcodes can be told what they may do."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """A rebuilder, a dtype, or a stub."""
        if (module, name) in _REBUILDERS:
            return _REBUILDERS[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if name in _STUBBED.get(module, ()) or module.startswith(_STUBBED_MODULES):
            return type(name, (Stub,), {})
        raise Refused(f"{module}.{name}")

    def _reduce(self) -> None:
        function = self.stack[-2]
        if not (function in _REBUILDERS.values() or _is_stub_class(function)):
            raise Refused(f"a call of {function!r}")
        _LOAD_REDUCE(self)  # type: ignore[arg-type]

    def _build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if isinstance(built, Stub) and isinstance(state, dict):
            vars(built).update(state)
        elif not isinstance(built, Stub | collections.OrderedDict | Tensor):
            raise Refused(f"a state for {type(built).__name__}")
        # What an OrderedDict or a tensor carries beside its contents is of no use here.

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.BUILD[0]] = _build


def _is_stub_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Stub)


class _Module:
    """What ``torch.load`` takes in place of the pickle module."""

    __name__ = "restricted"
    Unpickler = _Unpickler
    UnpicklingError = pickle.UnpicklingError

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        return _Unpickler(file, **options).load()


def read_checkpoint(path: Path) -> Any:
    """What ``torch.save`` wrote to ``path``: containers, numbers, strings, tensors on the CPU, and :class:`Stub`.

    Raises:
        ArsbenchError: there is no such file, it is no such file, it is cut short, or it would run code.
    """
    if not path.is_file():
        raise ArsbenchError(f"there is no file {path}; give the checkpoint's path")
    if tarfile.is_tarfile(path):
        raise ArsbenchError(f"{path} is a tar archive; unpack it and add the checkpoint that lies in it")
    if _is_torchscript(path):
        raise ArsbenchError(
            f"{path} is a TorchScript program, not a checkpoint of weights; add the original checkpoint"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the source of a stub is not that of the class it stands for
            return torch.load(path, map_location="cpu", pickle_module=_Module, weights_only=False)
    except Refused as error:
        raise ArsbenchError(
            f"{path} is refused: its pickle names {error}, which is more than weights, and nothing of it was run"
        ) from error
    except Exception as error:  # a broken file fails in any way
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ArsbenchError(
            f"{path} cannot be read as a PyTorch checkpoint ({reason}); it may be cut short: fetch it again"
        ) from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(Path(name).name == "constants.pkl" for name in archive.namelist())


def tensors_of(value: Any) -> dict[str, Tensor]:
    """The state_dict of what was read: of a mapping of tensors, or of a stub of a module.

    Tensors are found under the names that ``Module.state_dict`` would give them; everything else is left out.
    """
    if isinstance(value, Mapping):
        return {str(name): tensor.detach() for name, tensor in value.items() if isinstance(tensor, Tensor)}
    found: dict[str, Tensor] = {}
    if isinstance(value, Stub):
        state = vars(value)
        unsaved = state.get("_non_persistent_buffers_set") or ()
        for part in ("_parameters", "_buffers"):
            for name, tensor in (state.get(part) or {}).items():
                if isinstance(tensor, Tensor) and name not in unsaved:
                    found[name] = tensor.detach()
        for name, child in (state.get("_modules") or {}).items():
            found |= {f"{name}.{inner}": tensor for inner, tensor in tensors_of(child).items()}
    return found
