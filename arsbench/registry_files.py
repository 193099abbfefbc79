"""``FILE.py:Class``: runs a user's file as a module of its own, with what it imports from the folder it lies in.

While the file loads, its folder is importable, as it is for ``python FILE.py``. The modules that come from there
enter the hash of its code: a helper that was edited makes another method.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

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


@dataclass(frozen=True)
class _Entry:
    """One file that was run in this process, and the SHA-256 of it and of what it imported from its folder."""

    loaded: LoadedFile
    contents: dict[Path, str]


_LOADED: dict[str, _Entry] = {}


def load_file(path: Path) -> LoadedFile:
    """Runs a file as a module, once per content.

    Raises:
        ArsbenchError: it is no Python, or fails as it is run.
    """
    content = path.read_bytes()
    own = hashlib.sha256(content).hexdigest()
    folder = path.resolve().parent
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"arsbench_file_{place}_{own[:12]}"
    known = _LOADED.get(name)
    if known is not None and all(_sha256(file) == digest for file, digest in known.contents.items()):
        return known.loaded
    beside = _Beside(folder)
    package = ModuleType(name)  # so that ``from .helper import X`` finds what lies beside the file
    package.__path__ = [str(folder)]
    module_name = f"{name}.{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}"
    try:
        sys.modules[name] = package
        with undisturbed(draw(path.name, "load a file")) as found, beside.importable():
            module = _run(path, module_name, beside)
            beside.import_later(_imported_later(content))
    except BaseException:
        for each in (name, module_name):
            sys.modules.pop(each, None)
        raise
    contents = {file: _sha256(file) for file in {Path(made.__file__ or "") for made in beside.modules.values()}}
    parts = [f"{file.relative_to(folder).as_posix()}\0{digest}" for file, digest in sorted(contents.items())]
    digest = hashlib.sha256("\0".join([own, *parts]).encode()).hexdigest() if parts else own
    said = f"{path} left behind {', '.join(found.settings)} when it was loaded; it was put back"
    loaded = LoadedFile(module, digest, (said,) if found.settings else ())
    _LOADED[name] = _Entry(loaded, {path.resolve(): own, **contents})
    return loaded


def _run(path: Path, name: str, beside: _Beside) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ArsbenchError(f"{path} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    vars(module)["__builtins__"] = beside.builtins
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.filename == str(path) else f"{error.filename}, line {error.lineno}"
        raise ArsbenchError(f"{path} is not valid Python ({where}: {error.msg})") from error
    except ArsbenchError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the file is the user's: it may fail in any way
        raise ArsbenchError(f"{path} cannot be imported: {describe(error)}") from error
    return module


# --- what lies beside the file --------------------------------------------------------------------------------------


class _Beside(MetaPathFinder):
    """Imports for the modules of one folder, from that folder.

    Each of them has an ``__import__`` of its own, so that two folders may have modules of one name, so that a function
    that imports as it is called finds them, too, and so that nobody else's imports ever look into the folder.
    """

    _lock = threading.RLock()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: dict[str, ModuleType] = {}
        self.builtins = {**vars(builtins), "__import__": self._import}
        self._depth = self._paused = 0
        self._covered: dict[str, ModuleType] = {}
        inner = {Path(entry).resolve() for entry in sys.path if entry}
        self._inner = [entry for entry in inner if entry != folder and entry.is_relative_to(folder)]

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level == 0 and not self._is_here(name.split(".")[0]):
            self._paused += 1
            try:
                return builtins.__import__(name, globals, locals, fromlist, level)
            finally:
                self._paused -= 1
        with self.importable():
            if level == 0:
                self._cover(name.split(".")[0])
            return builtins.__import__(name, globals, locals, fromlist, level)

    def _cover(self, top: str) -> None:
        """Takes away, until the import is done, a module of this name that comes from elsewhere."""
        for name in [name for name in sys.modules if name.split(".")[0] == top]:
            if name not in self.modules:
                self._covered[name] = sys.modules.pop(name)

    @contextmanager
    def importable(self) -> Iterator[None]:
        """In here what lies in the folder can be imported."""
        with self._lock:
            self._depth += 1
            paused, self._paused = self._paused, 0
            bytecode = sys.dont_write_bytecode
            if self._depth == 1:
                self._covered = {name: sys.modules[name] for name in self.modules if name in sys.modules}
                sys.modules.update(self.modules)
                sys.meta_path.insert(0, self)
                # A helper that is edited twice within a second would be taken from its bytecode.
                sys.dont_write_bytecode = True
                importlib.invalidate_caches()
            try:
                yield
            finally:
                self._depth -= 1
                self._paused = paused
                if self._depth == 0:
                    sys.dont_write_bytecode = bytecode
                    sys.meta_path.remove(self)
                    for name, module in self.modules.items():
                        if sys.modules.get(name) is module:
                            del sys.modules[name]
                    sys.modules.update(self._covered)

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """Of a module of the folder; ``None`` for all others."""
        if self._paused or (path is None and not self._is_here(name)):
            return None
        spec = PathFinder.find_spec(name, [str(self.folder)] if path is None else path)
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
            return spec if path is None else None
        if not self._is_inside(Path(spec.origin)):
            return None
        spec.loader = _Loader(name, spec.origin, self)
        return spec

    def import_later(self, names: set[str]) -> None:
        """Imports what functions will import as they are called, so that it is in the hash."""
        looked_at: set[str] = set()
        while True:
            for module in list(self.modules.values()):
                names |= _imported_later(Path(module.__file__ or "").read_bytes())
            waiting = sorted(names - looked_at)
            if not waiting:
                return
            for name in waiting:
                looked_at.add(name)
                if self._is_here(name.split(".")[0]):
                    with suppress(Exception, SystemExit):  # the import may stand in a branch that is never taken
                        self._import(name, fromlist=("*",))

    def _is_here(self, top: str) -> bool:
        """Whether a top-level name means what lies in the folder: not the standard library nor what is installed."""
        if top in sys.stdlib_module_names or top == "arsbench":
            return False
        if not ((self.folder / f"{top}.py").is_file() or (self.folder / top).is_dir()):
            return False
        file = getattr(sys.modules.get(top), "__file__", None)
        return file is None or not {"site-packages", "dist-packages"} & set(Path(file).parts)

    def _is_inside(self, file: Path) -> bool:
        place = file.resolve()
        return place.is_relative_to(self.folder) and not any(place.is_relative_to(entry) for entry in self._inner)


class _Loader(SourceFileLoader):
    """Runs a module of the folder with the folder's imports."""

    def __init__(self, name: str, path: str, beside: _Beside) -> None:
        super().__init__(name, path)
        self._beside = beside

    def exec_module(self, module: ModuleType) -> None:
        """Runs it; what fails is as if it had never been imported."""
        vars(module)["__builtins__"] = self._beside.builtins
        self._beside.modules[module.__name__] = module
        try:
            super().exec_module(module)
        except BaseException:
            del self._beside.modules[module.__name__]
            raise


def _imported_later(content: bytes) -> set[str]:
    """The modules that a file's functions import as they are called."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return found


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
