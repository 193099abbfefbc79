"""Reads what ``torch.save`` wrote without running anything that stands in it.

A pickle is a program: it names functions and calls them. This reader knows the few functions that rebuild tensors, and
stubs in place of the classes that official checkpoints were pickled with; it calls those and nothing else. Both
containers are read, the zip of PyTorch 1.6 and the older stream.
"""

from __future__ import annotations

import collections
import pickle
import re
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.errors import describe


class Stub:
    """Stands in for an instance of a class that is not there: holds the state, computes nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> Stub:
        """Whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setitem__(self, name: object, value: object) -> None:
        """Of a mapping: an entry, kept as an attribute."""
        vars(self)[str(name)] = value

    def append(self, value: object) -> None:
        """Of a list or a deque: left out."""

    def extend(self, values: object) -> None:
        """Likewise."""

    def add(self, value: object) -> None:
        """Of a set: likewise."""

    def update(self, values: object) -> None:
        """Likewise."""


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

_BUILT_IN = (
    "object",
    "bytearray",
    "complex",
    "frozenset",
    "slice",
    "range",
    "xrange",
    "int",
    "float",
    "str",
    "list",
    "tuple",
)
_STUBBED = {
    "models": ("ResNet", "IRBlock", "SEBlock", "ArcMarginModel"),
    "models.arcface_models": ("ResNet", "IRBlock", "SEBlock", "ArcMarginModel"),
    "optimizer": ("InsightFaceOptimizer",),
    "argparse": ("Namespace",),
    "types": ("SimpleNamespace",),
    "collections": ("Counter", "deque"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "uuid": ("UUID", "SafeUUID"),
    "torch": ("Generator", "Tensor"),
    "torch._C": ("Generator",),
    "torch.nn.parallel.data_parallel": ("DataParallel",),
    "torch.nn.parallel.distributed": ("DistributedDataParallel",),
    "numpy": ("dtype", "ndarray"),
    "yacs.config": ("CfgNode",),
    "easydict": ("EasyDict",),
    "_codecs": ("encode",),
    "copyreg": ("_reconstructor",),
    "builtins": _BUILT_IN,
    "__builtin__": _BUILT_IN,
    **{f"numpy.{core}.multiarray": ("scalar", "_reconstruct") for core in ("core", "_core")},
    **{f"numpy.{core}.numeric": ("_frombuffer",) for core in ("core", "_core")},
    **{
        f"pathlib{part}": ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
        for part in ("", "._local")
    },
}
"""What training codes leave beside the weights: stubs stand in for it, none of it is called."""
_STUBBED_MODULES = ("torch.nn.modules.", "torch.optim.", "omegaconf.", "numpy.dtypes")
"""PyTorch's layers and optimisers and so on, all of them."""
_NUMPY_NUMBERS = re.compile(r"(bool|u?int|float|complex)\d*_?")
"""Classes of numpy's numbers."""


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
        known = name in _STUBBED.get(module, ()) or module.startswith(_STUBBED_MODULES)
        if known or (module == "numpy" and _NUMPY_NUMBERS.fullmatch(name)):
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
    if path.is_dir():
        raise ArsbenchError(f"{path} is a folder; give the checkpoint's file")
    if not path.is_file():
        raise ArsbenchError(f"there is no file {path}; give the checkpoint's path")
    other = _what_it_is(path)
    if other is not None:
        raise ArsbenchError(f"{path} {other}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the source of a stub is not that of the class it stands for
            # weights_only=True takes no pickle module and refuses what official checkpoints hold beside their tensors;
            # _Module names what may be called, and nothing else is.
            return torch.load(path, map_location="cpu", pickle_module=_Module, weights_only=False)
    except Refused as error:
        raise ArsbenchError(
            f"{path} is refused: its pickle names {error}, which is more than weights, and nothing of it was run"
        ) from error
    except Exception as error:  # a broken file fails in any way
        reason = " ".join(describe(error).split())[:120]
        raise ArsbenchError(
            f"{path} cannot be read as a PyTorch checkpoint ({reason}); it may be cut short: fetch it again"
        ) from error


_NO_CHECKPOINT = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the checkpoint; fetch it with: git lfs pull"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it and add the checkpoint that lies in it"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it and add the checkpoint that lies in it"),
    (b"Rar!", "is a RAR archive; unpack it and add the checkpoint that lies in it"),
    (b"BZh", "is compressed with bzip2; unpack it and add the checkpoint that lies in it"),
    (b"\xfd7zXZ", "is compressed with xz; unpack it and add the checkpoint that lies in it"),
    (b"\x89HDF", "is an HDF5 file, of another library than PyTorch; add the original checkpoint"),
    (b"%PDF", "is a PDF document, not a checkpoint; fetch the checkpoint itself"),
    (b"\x93NUMPY", "is a numpy array, not a checkpoint; add the original checkpoint"),
    (b"/annex/objects", "is a git-annex pointer, not the checkpoint; fetch it with: git annex get"),
)


def _what_it_is(path: Path) -> str | None:
    """What a file is that is known to be no checkpoint, and what to do; ``None`` for one that may be a checkpoint."""
    with path.open("rb") as file:
        head = file.read(512)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty and cannot be read as a PyTorch checkpoint; fetch it again"
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body", b"<script")):
        return (
            "is a web page, not the checkpoint: the site answered with a page, of its quota or of a question; open the "
            "link in a browser and fetch the file itself"
        )
    if text.startswith((b"{", b"[")) and text.isascii():
        return "is a text in JSON, not the checkpoint; fetch the file itself"
    if not any(head):
        return "holds zeros where a checkpoint begins: its download was not finished; fetch it again"
    if len(head) > 16 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "is a safetensors file, not the checkpoint as it was published; add the original"
    for start, said in _NO_CHECKPOINT:
        if head.startswith(start):
            return said
    if text[:1].isalpha() and head.isascii() and head.decode().replace("\n", " ").replace("\r", "").isprintable():
        said = " ".join(head[:60].decode().split())
        return f"is a text and cannot be read as a PyTorch checkpoint ('{said}'); fetch the file itself"
    try:
        if tarfile.is_tarfile(path):
            return "is a tar archive; unpack it and add the checkpoint that lies in it"
        if not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            names = [Path(name).name for name in archive.namelist()]
    except Exception:  # a damaged archive fails in any way; what reads it as a checkpoint says so
        return None
    if "constants.pkl" in names:
        return "is a TorchScript program, not a checkpoint of weights; add the original checkpoint"
    if "data.pkl" not in names:
        return "is a zip archive; unpack it and add the checkpoint that lies in it"
    return None


def tensors_of(value: Any) -> dict[str, Tensor]:
    """The state_dict of what was read: of a mapping of tensors, or of a stub of a module.

    Tensors are found under the names that ``Module.state_dict`` would give them; everything else is left out.
    """
    if isinstance(value, Mapping):
        found = {str(name): tensor.detach() for name, tensor in value.items() if isinstance(tensor, Tensor)}
        return without_wrappers(found)
    found = {}
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


WRAPPERS = ("module.", "_orig_mod.")
"""What ``DataParallel`` and ``torch.compile`` put before the names of the module they wrap."""


def without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict of a wrapped module under the names of the module itself.

    A wrapper may stand around the whole, or around its first parts.
    """
    for wrapper in WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            return without_wrappers({name.removeprefix(wrapper): tensor for name, tensor in state.items()})
    parts: dict[str, list[str]] = {}
    for name in state:
        part, _, rest = name.partition(".")
        parts.setdefault(part, []).append(rest)
    for part, rests in parts.items():
        for wrapper in WRAPPERS:
            if all(rest.startswith(wrapper) for rest in rests):
                old = f"{part}.{wrapper}"
                return without_wrappers({name.replace(old, f"{part}.", 1): tensor for name, tensor in state.items()})
    return state
