"""Name -> implementation, through entry points; ``FILE.py:Class`` or ``NAME:ARGUMENT`` wherever a name is taken.

The built-in methods register exactly as a stranger's package does: in the entry-point groups ``arsbench.protectors``,
``arsbench.perturbations`` and ``arsbench.manipulators``.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.metadata
import inspect
import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arsbench.contracts import ArsbenchError, Manipulator, Perturbation, Protector
from arsbench.errors import describe as describe
from arsbench.process_state import undisturbed
from arsbench.registry_files import load_file, local_sources

BASES: dict[str, type] = {"protector": Protector, "perturbation": Perturbation, "manipulator": Manipulator}
"""The kinds of method, and the class each derives from."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
RESERVED = {"perturbation": ("none", "all"), "protector": ("all",), "manipulator": ("all",)}
LEVELS = (0, 1, 2, 3, 4, 5)
LONGEST_NAME = 64
GIVEN_CLASS = "a class"
"""The origin of a method that was given as a class, in Python."""

Names = str | type | Sequence[str | type]
"""What a caller may give: a name, a comma list, ``all``, ``FILE.py:Class``, a class, or a sequence of these."""


@dataclass(frozen=True)
class Method:
    """An implementation and where it came from.

    Attributes:
        kind: ``protector``, ``perturbation`` or ``manipulator``.
        name: as it stands in the rows.
        cls: the class.
        source: what identifies its code: the package's version and the hash of its sources, or the file's hash.
        origin: the same for a reader: a package and its version, or ``FILE.py:Class``; see :func:`found_again`.
        notes: what its file disturbed as it was loaded, in sentences.
    """

    kind: str
    name: str
    cls: type[Any]
    source: str
    origin: str
    notes: tuple[str, ...] = ()


# --- names ----------------------------------------------------------------------------------------------------------


def check_name(name: str) -> None:
    """Raises ArsbenchError where a submission cannot be called ``name``."""
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ArsbenchError(f"the name '{name}' cannot be used; give letters, digits, _ . + - (at most {LONGEST_NAME})")


@functools.cache
def _entry_points(kind: str) -> dict[str, tuple[importlib.metadata.EntryPoint, ...]]:
    """Name -> what is registered under it: one, unless several packages registered the same name."""
    found: dict[str, dict[object, importlib.metadata.EntryPoint]] = {}
    for point in importlib.metadata.entry_points(group=f"arsbench.{kind}s"):
        # One package may be found twice, by its installation and by a checkout on the path.
        distribution = re.sub(r"[-_.]+", "-", point.dist.name).lower() if point.dist else ""
        found.setdefault(point.name, {}).setdefault((distribution, point.value), point)
    return {name: tuple(points.values()) for name, points in found.items()}


def names(kind: str) -> list[str]:
    """The registered names of a kind."""
    return list(_entry_points(kind))


def unknown(kind: str, name: str, known: Iterable[str]) -> ArsbenchError:
    """The error for an unknown name: the nearest names, or else all of them."""
    known = list(known)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    if near:
        return ArsbenchError(f"unknown {kind} '{name}'; did you mean {' or '.join(near)}?")
    return ArsbenchError(f"unknown {kind} '{name}'; there are: {', '.join(known) or 'none'}")


def find(kind: str, name: str | type) -> Method:
    """The one implementation of ``name``: a registered name, ``FILE.py:Class``, or a class.

    Raises:
        ArsbenchError: there is none of that name, or it is not a usable implementation of its kind.
    """
    if isinstance(name, type):
        return _checked(kind, name, name.__qualname__, _class_source(name), GIVEN_CLASS)
    if _is_file(name):
        return _from_file(kind, name)
    points = _entry_points(kind)
    if _takes_argument(kind, name):
        return _with_argument(kind, name)
    if name not in points:
        raise unknown(kind, name, points)
    return _from_entry_point(kind, _one_point(kind, name))


def found_again(kind: str, name: str, origin: str) -> str:
    """What :func:`find` finds a method by again, from the name and the origin that a manifest holds.

    Raises:
        ArsbenchError: it was given as a class, which has no place to be found at.
    """
    if origin == GIVEN_CLASS:
        raise ArsbenchError(
            f"{kind} '{name}' was given as a class in Python and cannot be found again; name it as FILE.py:Class"
        )
    return origin if _is_file(origin) or _takes_argument(kind, origin) else name


def resolve(kind: str, given: Names, groups: Mapping[str, Sequence[str]]) -> list[Method]:
    """The implementations that ``given`` names, each once, in the order given.

    Args:
        kind: ``protector``, ``perturbation`` or ``manipulator``.
        given: a name, comma list, ``FILE.py:Class``, class, or a sequence of these.
        groups: what ``all`` and the named sets stand for.

    Raises:
        ArsbenchError: an unknown name, an unusable implementation, or two implementations of one name.
    """
    found: dict[str, Method] = {}
    for item in _items(given):
        members = groups[item] if isinstance(item, str) and item in groups else (item,)
        for member in members:
            try:
                method = find(kind, member)
            except ArsbenchError:
                known = isinstance(member, str) and (_is_file(member) or _takes_argument(kind, member))
                if isinstance(member, str) and not known and member not in _entry_points(kind):
                    raise unknown(kind, member, [*_entry_points(kind), *groups]) from None
                raise
            same = found.setdefault(method.name, method)
            if same.source != method.source:
                raise ArsbenchError(
                    f"two {kind}s are called '{method.name}': {same.origin} and {method.origin}; rename one"
                )
    if not found:
        raise ArsbenchError(f"no {kind} is named; there are: {', '.join(_entry_points(kind))}")
    return list(found.values())


def _items(given: Names) -> list[str | type]:
    """Comma lists taken apart; a path that holds a comma is left whole."""
    if isinstance(given, type):
        return [given]
    if not isinstance(given, str):
        return [item for part in given for item in _items(part)]
    items: list[str | type] = []
    parts = given.split(",")
    while parts:
        # The longest start that names a file, or else the text up to the next comma.
        starts = ((n, ",".join(parts[:n]).strip()) for n in range(len(parts), 0, -1))
        n, item = next((n, text) for n, text in starts if n == 1 or _is_file_there(text))
        items += [item] if item else []
        parts = parts[n:]
    return items


def _is_file_there(text: str) -> bool:
    start, colon, rest = text.partition(":")
    path = text if text.endswith(".py") else text.rpartition(":")[0]
    return (path.endswith(".py") and Path(path).is_file()) or bool(
        colon and NAME.fullmatch(start) and Path(rest).is_dir()
    )


def parse_levels(given: str | int | Sequence[int]) -> tuple[int, ...]:
    """``"all"``, ``"0,3,5"``, ``"1-5"``, a number or numbers -> the levels, ascending; level 0 is always among them.

    Raises:
        ArsbenchError: not levels from 0 to 5.
    """
    if isinstance(given, str):
        parts = [part.strip() for part in given.split(",") if part.strip()]
    elif isinstance(given, int):
        parts = [str(given)]
    else:
        parts = [str(part) for part in given]
    levels = {0}
    for part in parts:
        if part == "all":
            levels.update(LEVELS)
            continue
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        span = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not span or span[-1] > LEVELS[-1]:
            raise ArsbenchError(
                f"'{part}' is not a level; give all, or levels from 0 to {LEVELS[-1]} such as 0,3,5 or 1-5"
            )
        levels.update(span)
    if not parts:
        raise ArsbenchError(f"no level is named; give all, or levels from 0 to {LEVELS[-1]} such as 0,3,5 or 1-5")
    return tuple(sorted(levels))


# --- loading --------------------------------------------------------------------------------------------------------


def _is_file(name: str) -> bool:
    return name.endswith(".py") or name.rpartition(":")[0].endswith(".py")


def _from_entry_point(kind: str, point: importlib.metadata.EntryPoint) -> Method:
    package = _package(point)
    try:
        with undisturbed() as found:
            cls = point.load()
    except ArsbenchError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's package may fail in any way
        raise ArsbenchError(f"{kind} '{point.name}' of {package} cannot be loaded: {describe(error)}") from error
    left = ", ".join(found.settings)
    said = f"{kind} '{point.name}' of {package} left behind {left} when it was loaded; it was put back"
    method = _checked(kind, cls, point.name, f"{package} {_package_hash(cls)}", package, expected=point.name)
    return replace(method, notes=(said,) if left else ())


def _one_point(kind: str, name: str) -> importlib.metadata.EntryPoint:
    """The one that is registered under a name, which is one of :func:`names`."""
    points = _entry_points(kind)[name]
    if len(points) > 1:
        packages = " and ".join(f"{_package(point)} ({point.value})" for point in points)
        raise ArsbenchError(
            f"the {kind} '{name}' is registered more than once, by {packages}; uninstall one, or rename yours"
        )
    return points[0]


def _package(point: importlib.metadata.EntryPoint) -> str:
    return _name_and_version(point.dist) if point.dist else "an unknown package"


@functools.cache
def _name_and_version(distribution: importlib.metadata.Distribution) -> str:
    return f"{distribution.name} {distribution.version}"  # each reads the package's metadata anew


def _takes_argument(kind: str, text: str) -> bool:
    """Whether ``text`` is ``NAME:ARGUMENT`` of a registered name, such as ``folder:DIR``."""
    name, colon, _ = text.partition(":")
    return bool(colon) and name in _entry_points(kind)


def _with_argument(kind: str, text: str) -> Method:
    """``NAME:ARGUMENT``: the class that ``of(ARGUMENT)`` of the registered class makes, and what identifies it."""
    name, _, argument = text.partition(":")
    general = find(kind, name)
    make = getattr(general.cls, "of", None)
    if make is None:
        raise ArsbenchError(f"{kind} '{name}' takes no argument; give {name} alone")
    cls, identity = make(argument)
    return _checked(kind, cls, text, f"{general.source} {identity}", text)


def _from_file(kind: str, text: str) -> Method:
    path_text, _, class_name = (text, "", "") if text.endswith(".py") else text.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise ArsbenchError(f"the file {path} does not exist; give FILE.py:Class")
    loaded = load_file(path)
    module = loaded.module
    classes = [name for name, value in vars(module).items() if _defined_here(value, module, BASES[kind])]
    if not class_name:
        hint = f"{path}:{classes[0]}" if classes else f"{path}:Class"
        raise ArsbenchError(f"'{text}' names no class; give {hint}")
    if not hasattr(module, class_name):
        near = difflib.get_close_matches(class_name, classes, n=1, cutoff=0.0)
        hint = f"; did you mean {near[0]}?" if near else f"; it defines no {kind}"
        raise ArsbenchError(f"{path} has no class '{class_name}'{hint}")
    source, origin = f"file {class_name} {loaded.digest}", f"{path}:{class_name}"
    return replace(_checked(kind, getattr(module, class_name), text, source, origin), notes=loaded.notes)


def _defined_here(value: object, module: object, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base) and value.__module__ == getattr(module, "__name__", "")


def _checked(kind: str, cls: object, label: str, source: str, origin: str, expected: str | None = None) -> Method:
    base = BASES[kind]
    if not isinstance(cls, type) or not issubclass(cls, base):
        raise ArsbenchError(f"{label} is not a {kind}; derive it from arsbench.contracts.{base.__name__}")
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise ArsbenchError(f"{label} is abstract: it lacks {', '.join(missing)}")
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name) or (expected is None and name in RESERVED[kind]):
        said = "has no name" if name is None else f"has the unusable name {name!r}"
        raise ArsbenchError(f'{label} {said}; set name = "my-{kind}" (letters, digits, _ . + -) in the class')
    if expected is not None and name != expected:
        raise ArsbenchError(f"the {kind} registered as '{expected}' by {origin} calls itself '{name}'; make them equal")
    if kind == "perturbation":
        _check_levels(cls, label)
    return Method(kind, name, cls, source, origin)


def _check_levels(cls: type, label: str) -> None:
    levels: object = getattr(cls, "levels", None)
    tables: list[Any] = list(levels.values()) if isinstance(levels, dict) else [levels]
    for table in tables:
        usable = isinstance(table, tuple | list) and len(table) == LEVELS[-1]
        if not usable or not all(isinstance(v, int | float) and math.isfinite(v) for v in table):
            raise ArsbenchError(f"{label} needs levels = (five numbers, weakest first), or one such tuple per track")


# --- identity -------------------------------------------------------------------------------------------------------


def _package_hash(cls: type) -> str:
    file = inspect.getsourcefile(cls)
    return _folder_hash(Path(file).parent) if file else "no-source"


@functools.cache
def _folder_hash(folder: Path) -> str:
    """Over the package's sources: an edited package must not be taken for the one that filled a run or the cache."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _class_source(cls: type) -> str:
    try:
        file = inspect.getsourcefile(cls)
        content = (
            b"\0".join(path.read_bytes() for path in local_sources(Path(file)))
            if file
            else inspect.getsource(cls).encode()
        )
    except (OSError, TypeError):
        # Without its source nothing says whether it is the same class another time: never resumed, never cached.
        return f"class {cls.__qualname__} {uuid.uuid4().hex}"
    return f"class {cls.__qualname__} {hashlib.sha256(content).hexdigest()}"


def summary(cls: type) -> str:
    """The first line of a class's own docstring, for lists."""
    lines = (cls.__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""
