"""A user's code in several files."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch

from arsbench import registry
from arsbench.contracts import ArsbenchError
from arsbench.registry_files import load_file, local_sources

CASES = Path(__file__).parents[1] / "fixtures" / "cases" / "methods"
MAIN = """
{imports}
from arsbench.contracts import Protector

class P(Protector):
    name = "p"
    def protect(self, x, keys):
        {inside}
        return x + strength
"""


def write(folder: Path, imports: str = "", inside: str = "pass", **files: str) -> Path:
    for name, text in {"mine": MAIN.format(imports=imports, inside=inside), **files}.items():
        path = folder / f"{name.replace('_in_', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "mine.py"


def strength(file: Path) -> float:
    cls = registry.find("protector", f"{file}:P").cls
    return float(cls.protect(cls.__new__(cls), 0.0, []))


def source(file: Path) -> str:
    return registry.find("protector", f"{file}:P").source


def test_the_listed_case():
    cls = registry.find("protector", f"{CASES / 'with_helper.py'}:H").cls
    assert float(cls.protect(None, torch.zeros(1), [])) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("imports", "inside", "files"),
    [
        ("from helper import strength", "pass", {"helper": "strength = {}"}),
        ("from .helper import strength", "pass", {"helper": "strength = {}"}),
        ("from parts.deep import strength", "pass", {"parts_in___init__": "", "parts_in_deep": "strength = {}"}),
        ("from parts.deep import strength", "pass", {"parts_in_deep": "strength = {}"}),
        ("from middle import strength", "pass", {"middle": "from helper import strength", "helper": "strength = {}"}),
        ("", "from helper import strength", {"helper": "strength = {}"}),
        ("import middle", "strength = middle.get()", {
            "middle": "def get():\n    from helper import strength\n    return strength", "helper": "strength = {}"}),
    ],
    ids=["beside", "relative", "package", "namespace", "in turn", "inside a function", "inside a helper's function"],
)  # fmt: skip
def test_a_helper_is_importable_and_in_the_hash(tmp_path, imports, inside, files):
    sources = []
    for value in (0.1, 0.2, 0.1):
        file = write(tmp_path, imports, inside, **{name: text.format(value) for name, text in files.items()})
        assert strength(file) == value
        sources.append(source(file))
    assert sources[0] == sources[2] != sources[1]


def test_a_file_that_imports_nothing_of_its_folder_keeps_its_hash(tmp_path):
    file = write(tmp_path, "strength = 0.5", other="strength = 1")
    before = source(file)
    (tmp_path / "other.py").write_text("strength = 2")
    assert source(file) == before


def test_two_folders_may_have_helpers_of_one_name(tmp_path):
    first, second = (
        write(tmp_path / str(value), "from helper import strength", helper=f"strength = {value}") for value in (1, 2)
    )
    assert [strength(first), strength(second), strength(first)] == [1, 2, 1]


def test_functions_that_import_as_they_are_called_find_what_lies_beside_their_own_file(tmp_path):
    first, second = (
        write(tmp_path / str(value), "", "from helper import strength", helper=f"strength = {value}")
        for value in (1, 2)
    )
    top = write(tmp_path / "3", "from helper import strength", helper="strength = 3")
    classes = [registry.find("protector", f"{file}:P").cls for file in (first, second, top)]
    assert [cls.protect(None, 0, []) for cls in (*classes, *reversed(classes))] == [1, 2, 3, 3, 2, 1]


def test_a_module_that_was_imported_elsewhere_is_not_taken_for_the_helper(tmp_path, monkeypatch):
    other = types.ModuleType("helper")
    other.strength, other.__file__ = 5, str(tmp_path / "elsewhere" / "helper.py")
    monkeypatch.setitem(sys.modules, "helper", other)
    file = write(tmp_path / "mine", "from helper import strength", helper="strength = 1")
    assert strength(file) == 1
    assert sys.modules["helper"] is other


def test_neither_the_path_nor_what_is_installed_is_touched(tmp_path):
    file = write(tmp_path, "from helper import strength\nimport torch", helper="strength = 1", torch="raise OSError")
    before = list(sys.path)
    assert strength(file) == 1
    assert sys.path == before
    assert sys.modules["torch"] is torch


def test_an_environment_inside_the_folder_is_not_the_users_code(tmp_path, monkeypatch):
    installed = tmp_path / "venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "installed_here.py").write_text("strength = 1")
    monkeypatch.syspath_prepend(str(installed))
    file = write(tmp_path, "from installed_here import strength")
    before = source(file)
    (installed / "installed_here.py").write_text("strength = 1 # edited")
    assert source(file) == before


def test_a_helper_that_fails_is_one_sentence_and_leaves_nothing(tmp_path):
    file = write(tmp_path, "import helper", helper="import sys; sys.exit(0)")
    with pytest.raises(ArsbenchError, match=r"mine\.py cannot be imported: SystemExit"):
        registry.find("protector", f"{file}:P")
    assert "helper" not in sys.modules


def test_what_a_file_changes_as_it_loads_is_put_back_and_the_file_named(tmp_path):
    file = write(tmp_path, "import torch\ntorch.set_default_dtype(torch.float64)\ntorch.manual_seed(1)\nstrength = 1")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    (note,) = registry.find("protector", f"{file}:P").notes
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.rand(1), expected)
    assert "mine.py left behind torch's default dtype" in note


def test_a_class_given_in_python_is_hashed_with_what_lies_beside_its_file(tmp_path):
    file = write(tmp_path, "import middle", middle="from helper import strength", helper="strength = 1", other="")
    assert [path.stem for path in local_sources(file)] == ["mine", "helper", "middle"]


def test_it_is_run_once_for_a_content(tmp_path):
    file = write(tmp_path, "from helper import strength", helper="strength = 1")
    assert load_file(file).module is load_file(file).module
