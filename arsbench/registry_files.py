"""``FILE.py:Class``: runs a user's file as a module of its own, with what it imports from the folder it lies in.

While the file loads, its folder is importable, as it is for ``python FILE.py``. The modules that come from there
enter the hash of its code: a helper that was edited makes another method.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from arsbench.draws import draw
from arsbench.errors import ArsbenchError, describe
from arsbench.process_state import undisturbed


@dataclass(frozen=True)
class LoadedFile:
    """A user's file that was run.

    Attributes:
        module: its module.
        digest: SHA-256 of its code and of what it imports from its folder.
        notes: what it disturbed as it was loaded, in sentences.
    """

    module: ModuleType
    digest: str
    notes: tuple[str, ...] = ()


@dataclass
class _Entry:
    """One file that was run in this process.

    Attributes:
        loaded: what came of it.
        folder: where it lies.
        contents: file -> SHA-256, of the file and of what it imported from its folder.
        beside: name -> module, of what it imported from its folder.
        later: the names among them that it imports only as its functions are called.
    """

    loaded: LoadedFile
    folder: Path
    contents: dict[Path, str]
    beside: dict[str, ModuleType]
    later: set[str]


_LOADED: dict[str, _Entry] = {}


def load_file(path: Path) -> LoadedFile:
    """Runs a file as a module, once per content.

    Raises:
        ArsbenchError: it is no Python, fails as it is run, or needs another module of a name that a file which was
            loaded before still needs.
    """
    content = path.read_bytes()
    own = hashlib.sha256(content).hexdigest()
    folder = path.resolve().parent
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"arsbench_file_{place}_{own[:12]}"
    known = _LOADED.get(name)
    if known is not None and all(_sha256(file) == digest for file, digest in known.contents.items()):
        return known.loaded
    later = _imported_later(content)
    _make_room(folder, later)
    package = ModuleType(name)  # so that ``from .helper import X`` finds what lies beside the file
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    before, path_before = set(sys.modules), list(sys.path)
    try:
        with undisturbed(draw(path.name, "load a file")) as found, _importable(folder):
            module = _run(path, f"{name}.{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}")
            _import_now(later, folder, before, path_before)
        beside = _from_folder(folder, before, path_before)
    except BaseException:
        _forget([*_from_folder(folder, before, path_before), name])
        raise
    finally:
        _give_back()
    beside = {key: value for key, value in beside.items() if value is not module}
    contents = {file: _sha256(file) for file in {Path(value.__file__ or "").resolve() for value in beside.values()}}
    parts = [f"{file.relative_to(folder).as_posix()}\0{digest}" for file, digest in sorted(contents.items())]
    digest = hashlib.sha256("\0".join([own, *parts]).encode()).hexdigest() if parts else own
    said = f"{path} left behind {', '.join(found.settings)} when it was loaded; it was put back"
    loaded = LoadedFile(module, digest, (said,) if found.settings else ())
    _LOADED[name] = _Entry(loaded, folder, {path.resolve(): own, **contents}, beside, later & beside.keys())
    return loaded


def _run(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ArsbenchError(f"{path} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.filename == str(path) else f"{error.filename}, line {error.lineno}"
        raise ArsbenchError(f"{path} is not valid Python ({where}: {error.msg})") from error
    except ArsbenchError:
        raise
    except (Exception, SystemExit) as error:  # the file is the user's: it may fail in any way
        raise ArsbenchError(f"{path} cannot be imported: {describe(error)}") from error
    return module


# --- what lies beside the file --------------------------------------------------------------------------------------


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    bytecode = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    # A helper that is edited twice within a second would be taken from its bytecode.
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        sys.dont_write_bytecode = bytecode


def _from_folder(folder: Path, before: set[str], path_before: list[str]) -> dict[str, ModuleType]:
    """The modules that are new since ``before`` and lie in the folder, not in an environment or a package inside it."""
    known = _tops(name for name in before if not name.startswith("arsbench_file_"))
    inner = [Path(entry).resolve() for entry in path_before if entry]
    inner = [entry for entry in inner if entry != folder and entry.is_relative_to(folder)]
    found = {}
    for name in sys.modules.keys() - before:
        module = sys.modules[name]
        file = getattr(module, "__file__", None)
        if name.split(".")[0] in known or not file or not file.endswith(".py"):
            continue
        place = Path(file).resolve()
        if place.is_relative_to(folder) and not any(place.is_relative_to(entry) for entry in inner):
            found[name] = module
    return found


def _tops(names: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def _imported_later(content: bytes) -> set[str]:
    """The modules that a file's functions import as they are called."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return set()
    found = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return found


def _import_now(later: set[str], folder: Path, before: set[str], path_before: list[str]) -> None:
    """Imports what functions will import, where it lies in the folder: as they are called it would not be found.

    What the functions of those modules import is added to ``later``.
    """
    looked_at: set[Path] = set()
    while True:
        for name in sorted(later):
            top = name.split(".")[0]
            here = (folder / f"{top}.py").is_file() or (folder / top).is_dir()
            if here and top not in _tops(before) and name not in sys.modules:
                with suppress(Exception, SystemExit):  # the import may stand in a branch that is never taken
                    importlib.import_module(name)
        files = {Path(module.__file__ or "") for module in _from_folder(folder, before, path_before).values()}
        if files <= looked_at:
            return
        for file in files - looked_at:
            later |= _imported_later(file.read_bytes())
        looked_at |= files


def _make_room(folder: Path, later: set[str]) -> None:
    """Takes away what earlier files imported from their folders, so that a name means what lies beside this one."""
    for key, entry in list(_LOADED.items()):
        if not all(_sha256(file) == digest for file, digest in entry.contents.items()):
            del _LOADED[key]
        elif entry.folder != folder:
            both = sorted(name for name in _tops(entry.later) & _tops(later) if (folder / f"{name}.py").is_file())
            if both:
                raise ArsbenchError(
                    f"two files import different modules called '{both[0]}' inside their functions, from "
                    f"{entry.folder} and {folder}; let them import it at the top"
                )
        _forget(list(entry.beside))


def _give_back() -> None:
    """Lets functions that import as they are called find again what was loaded for them."""
    for entry in _LOADED.values():
        if entry.later:
            sys.modules.update(entry.beside)


def _forget(names: list[str]) -> None:
    for name in names:
        sys.modules.pop(name, None)


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


# --- a class that was given in Python -------------------------------------------------------------------------------


def local_sources(file: Path) -> list[Path]:
    """The file and the files of its folder that it imports, and they in turn, found without running them."""
    folder = file.resolve().parent
    found: list[Path] = []
    waiting = [file.resolve()]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.append(path)
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                if name.split(".")[0] == "arsbench":
                    continue
                place = folder.joinpath(*name.split("."))
                waiting += [f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()]
    return [found[0], *sorted(found[1:])]
