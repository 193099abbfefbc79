"""What code of a method may disturb in a model that others use, too: looked at after each call, and put back.

A protector that leaves the manipulator in training mode, or moves its statistics, would change the rows of every
protector after it, and the manipulator would be blamed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.contracts import Manipulator
from arsbench.process_state import Disturbance

DEPTH = 3
"""Containers and plain objects inside each other in which a model's modules are looked for."""


class ModelGuard:
    """The modes, buffers and weights of a model's modules as they are now, and its ``manipulate``.

    Copies of weights are kept in the CPU's memory.

    Args:
        model: whose modules, in attributes, lists and mappings, are guarded.
    """

    def __init__(self, model: Manipulator) -> None:
        self._model = model
        self._own = vars(model).get("manipulate")
        self._class = type(model).manipulate
        self._modes: list[tuple[str, nn.Module, bool]] = []
        self._hooks: list[tuple[str, dict[int, Any], dict[int, Any]]] = []
        self._needs_grad: list[tuple[str, Tensor, bool]] = []
        self._values: dict[str, tuple[Tensor, Tensor]] = {}
        self._versions: dict[str, int] = {}
        for prefix, module in _modules(vars(model), "", DEPTH, set()):
            self._modes += [(_joined(prefix, name), part, part.training) for name, part in module.named_modules()]
            self._hooks += [
                (_joined(prefix, name), hooks, dict(hooks))
                for name, part in module.named_modules()
                for hooks in (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
            ]
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                self._needs_grad.append((_joined(prefix, name), tensor, tensor.requires_grad))
                if not tensor.is_meta:
                    self._values[_joined(prefix, name)] = (tensor, tensor.detach().to("cpu", copy=True))
        names = {prefix.split(".")[0] for prefix, _ in _modules(vars(model), "", DEPTH, set())}
        self._attributes = {name: value for name, value in vars(model).items() if name in names}
        self._note_versions()

    def put_back(self, thorough: bool = True) -> list[str]:
        """Makes the model what it was; returns what was not, in words.

        Args:
            thorough: compare every value; False to do so only where a mode or a tensor's version has changed, which
                misses what was written through ``.data``.
        """
        changed = []
        if vars(self._model).get("manipulate") is not self._own or type(self._model).manipulate is not self._class:
            changed.append("its manipulate() was replaced")
            vars(self._model).pop("manipulate", None)
            if self._own is not None:
                vars(self._model)["manipulate"] = self._own
            type(self._model).manipulate = self._class  # type: ignore[method-assign]
        replaced = [(name,) for name, value in self._attributes.items() if vars(self._model).get(name) is not value]
        if replaced:
            vars(self._model).update(self._attributes)
            changed.append(f"a part of it was replaced ({_first(replaced)})")
        hooked = [(name, hooks, kept) for name, hooks, kept in self._hooks if hooks != kept]
        for _, hooks, kept in hooked:
            hooks.clear()
            hooks.update(kept)
        if hooked:
            changed.append(f"hooks were left on ({_first(hooked)})")
        modes = [(name, part, mode) for name, part, mode in self._modes if part.training is not mode]
        for _, part, mode in modes:
            part.training = mode
        if modes:
            mode = modes[0][2]
            changed.append(f"{'training' if not mode else 'evaluation'} mode was left on ({_first(modes)})")
        flags = [(name, tensor, flag) for name, tensor, flag in self._needs_grad if tensor.requires_grad is not flag]
        for _, tensor, flag in flags:
            tensor.requires_grad_(flag)
        if flags:
            changed.append(f"requires_grad was changed ({_first(flags)})")
        if thorough or changed or any(_version(tensor) != self._versions[n] for n, (tensor, _) in self._values.items()):
            changed += self._put_values_back()
        return changed

    @torch.no_grad()
    def _put_values_back(self) -> list[str]:
        moved = []
        for name, (tensor, kept) in self._values.items():
            now = tensor.detach().cpu()
            if now.shape == kept.shape and now.dtype == kept.dtype:
                if _same(now, kept):
                    continue
                tensor.data.copy_(kept)
            else:
                tensor.data = kept.to(tensor.device, copy=True)
            moved.append((name,))
        self._note_versions()
        return [f"its weights or statistics were written to ({_first(moved)})"] if moved else []

    def _note_versions(self) -> None:
        self._versions = {name: _version(tensor) for name, (tensor, _) in self._values.items()}


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _same(a: Tensor, b: Tensor) -> bool:
    # NaN is the same as NaN here.
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def _modules(values: Mapping[str, Any], prefix: str, depth: int, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    for key, value in list(values.items()):
        if id(value) in seen:
            continue
        name = _joined(prefix, str(key))
        if isinstance(value, nn.Module):
            seen.add(id(value))
            yield name, value
        elif depth and isinstance(value, Mapping | list | tuple):
            seen.add(id(value))
            inner = value if isinstance(value, Mapping) else dict(enumerate(value))
            yield from _modules({str(key): entry for key, entry in inner.items()}, name, depth - 1, seen)
        elif depth and not isinstance(value, Tensor | type) and isinstance(getattr(value, "__dict__", None), dict):
            seen.add(id(value))
            yield from _modules(vars(value), name, depth - 1, seen)


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name


def _first(found: list[Any]) -> str:
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0][0] or 'the module itself'}{more}"


def about_settings(who: str, found: Disturbance) -> list[str]:
    """What a reader should know of what ``who`` left behind."""
    said = [f"{who} left behind {', '.join(found.settings)}; it was put back"] if found.settings else []
    if found.generators:
        said.append(
            f"{who} draws from {' and '.join(found.generators)} global generator, which was seeded by each image's key "
            "and put back; draw by the keys alone, as arsbench.draws does"
        )
    return said


def about_model(who: str, model: str, changed: Sequence[str]) -> list[str]:
    """What a reader should know of what ``who`` did to the manipulator ``model``."""
    return [f"{who} changed manipulator '{model}': {'; '.join(changed)}; it was put back"] if changed else []
