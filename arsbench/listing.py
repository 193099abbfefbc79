"""What arsbench ships, as its entry points and sources say it: read without running them, for they import torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from arsbench.named_sets import DEFAULT_SET, MANIPULATORS, PERTURBATION_SETS, PROTECTORS

PACKAGE = "arsbench"
FACTS = {"perturbation": ("levels",), "manipulator": ("track", "weights_files", "checkpoints")}
"""What a list says of a kind beside the docstring: attributes of the class, assigned as literals."""


def ordered(kind: str) -> list[str]:
    """The registered names of ``protector``, ``perturbation`` or ``manipulator``, those of ``all`` first."""
    table = {"protector": PROTECTORS, "manipulator": MANIPULATORS, "perturbation": PERTURBATION_SETS[DEFAULT_SET]}[kind]
    registered = list(dict.fromkeys(point.name for point in _points(kind)))
    return list(dict.fromkeys([*(name for name in table if name in registered), *registered]))


def shipped(kind: str, name: str) -> list[dict[str, Any]]:
    """Name, first line of the docstring, origin, a perturbation's levels; of a manipulator :data:`FACTS`, by track.

    Nothing where another package registered the name, too, or the source alone does not say.
    """
    origins = {(point.dist.name, point.dist.version) if point.dist else ("", "") for point in _points(kind, name)}
    package, version = next(iter(origins), ("", ""))
    if len(origins) != 1 or package != PACKAGE:
        return []
    module, _, class_name = _points(kind, name)[0].value.partition(":")
    entries = []
    for cls in [class_name, *(_derived(module, class_name) if kind == "manipulator" else ())]:
        found = _class(module, cls)
        facts = {fact: _assigned(module, cls, fact) for fact in FACTS.get(kind, ())}
        if found is None or not (text := ast.get_docstring(found)) or None in facts.values():
            return []
        entry = {"name": name, "summary": text.splitlines()[0], "origin": f"{package} {version}", "usable": True}
        entries.append(entry | facts)
    return entries


@functools.cache
def _registered(kind: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"{PACKAGE}.{kind}s"))


def _points(kind: str, name: str | None = None) -> Sequence[EntryPoint]:
    return [point for point in _registered(kind) if name in (None, point.name)]


@functools.cache
def _parsed(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else "")


def _class(module: str, name: str) -> ast.ClassDef | None:
    return next((node for node in _parsed(module).body if isinstance(node, ast.ClassDef) and node.name == name), None)


def _derived(module: str, name: str) -> list[str]:
    """The classes of the module that name this one as a base."""
    classes = [node for node in _parsed(module).body if isinstance(node, ast.ClassDef)]
    return [cls.name for cls in classes if name in _bases(cls)]


def _bases(cls: ast.ClassDef) -> list[str]:
    return [base.id for base in cls.bases if isinstance(base, ast.Name)]


def _assigned(module: str, name: str, fact: str) -> Any:
    """What the class, or the first base that the module defines or imports by name, assigns; ``None`` if no literal."""
    found = _class(module, name)
    for node in found.body if found else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == fact:
            try:
                return None if node.value is None else ast.literal_eval(node.value)
            except ValueError:
                return None
    imports = [node for node in _parsed(module).body if isinstance(node, ast.ImportFrom) and node.module]
    of = {alias.name: str(node.module) for node in imports for alias in node.names}
    bases = _bases(found) if found else []
    values = (_assigned(of.get(base, module), base, fact) for base in bases)
    return next((value for value in values if value is not None), None)
