from __future__ import annotations

import sys

import pytest

from arsbench import registry
from arsbench.contracts import ArsbenchError, Protector
from arsbench.protocol import groups

METHOD = """
from arsbench.contracts import Protector

class P(Protector):
    name = "{name}"
    def protect(self, x, keys):
        return x
"""


def resolve(kind, given):
    return [method.name for method in registry.resolve(kind, given, groups(kind))]


def test_finds_a_registered_class():
    assert issubclass(registry.find("protector", "none").cls, Protector)


def test_all_registered_classes_load():
    for kind in registry.BASES:
        for name in registry.names(kind):
            assert registry.find(kind, name).name == name


def test_comma_list_keeps_the_order():
    assert resolve("perturbation", "jpeg, contrast") == ["jpeg", "contrast"]


def test_a_name_given_twice_counts_once():
    assert resolve("perturbation", ["jpeg", "jpeg,contrast"]) == ["jpeg", "contrast"]


def test_all_means_the_protocols_six():
    six = ["saturation", "contrast", "dropout", "gaussian_blur", "downscale", "jpeg"]
    assert resolve("perturbation", "all") == resolve("perturbation", "paper-six") == six


def test_all_protectors_are_those_of_the_table():
    assert groups("protector")["all"] == ("fgsm", "pgd", "disrupt", "tafim", "ars")


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [("protector", "fgms", "fgsm"), ("perturbation", "jpg", "jpeg"), ("manipulator", "psp_mix", "psp-mix")],
)
def test_unknown_name_says_the_nearest(kind, name, near):
    with pytest.raises(ArsbenchError, match=f"did you mean .*{near}"):
        resolve(kind, name)


def test_a_name_like_nothing_lists_all():
    with pytest.raises(ArsbenchError, match=r"there are: .*psp-mix"):
        resolve("manipulator", "zzzzzzzz")


def test_no_name_is_refused():
    with pytest.raises(ArsbenchError, match="no protector is named"):
        resolve("protector", " , ")


def test_a_class_of_a_file(fake):
    assert registry.find("protector", fake("Push")).name == "push"


def test_a_class_itself(fake):
    cls = registry.find("protector", fake("Push")).cls
    assert registry.find("protector", cls).cls is cls


def test_a_file_is_loaded_without_touching_the_path(fake):
    before = list(sys.path)
    registry.find("protector", fake("Push"))
    assert sys.path == before


def test_an_edited_file_is_another_method(tmp_path):
    file = tmp_path / "mine.py"
    text = METHOD.format(name="p")
    file.write_text(text)
    before = registry.find("protector", f"{file}:P")
    file.write_text(text + "# edited\n")
    assert registry.find("protector", f"{file}:P").source != before.source


def test_two_methods_of_one_name_are_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(METHOD.format(name="noise"))
    with pytest.raises(ArsbenchError, match="two protectors are called 'noise'"):
        resolve("protector", [f"{file}:P", "noise"])


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("protector", "Pusch", "has no class 'Pusch'; did you mean Push?"),
        ("protector", "Nameless", "has no name; set name"),
        ("protector", "Unfinished", "is abstract: it lacks protect"),
        ("protector", "NotAMethod", "is not a protector; derive it from arsbench.contracts.Protector"),
        ("protector", "Mirror", "is not a protector"),
        ("perturbation", "FourLevels", "needs levels"),
    ],
)
def test_an_unusable_class_is_one_sentence(fake, kind, name, message):
    with pytest.raises(ArsbenchError, match=message.replace("?", r"\?")) as caught:
        registry.find(kind, fake(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:\n", "is not valid Python .line 1"),
        ("import no_such_module_here\n", "cannot be imported: ModuleNotFoundError"),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError"),
        ("raise SystemExit(0)\n", "cannot be imported: SystemExit"),
    ],
)
def test_an_unusable_file_is_one_sentence(tmp_path, text, message):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(ArsbenchError, match=message):
        registry.find("protector", f"{file}:P")


def test_a_missing_file():
    with pytest.raises(ArsbenchError, match="does not exist"):
        registry.find("protector", "nowhere.py:P")


def test_a_file_without_class_says_which(fake):
    with pytest.raises(ArsbenchError, match=r"names no class; give .*fakes.py:Push"):
        registry.find("protector", fake("Push").rpartition(":")[0])


@pytest.mark.parametrize(
    ("given", "levels"),
    [
        ("all", (0, 1, 2, 3, 4, 5)),
        ("0,3,5", (0, 3, 5)),
        ("1-5", (0, 1, 2, 3, 4, 5)),
        ("5", (0, 5)),
        (4, (0, 4)),
        ([1, 3], (0, 1, 3)),
        ("2-3, 5", (0, 2, 3, 5)),
    ],
)
def test_levels(given, levels):
    assert registry.parse_levels(given) == levels


@pytest.mark.parametrize("given", ["9", "-1", "3-1", "x", "", "1-9", [7], "1.5"])
def test_what_is_no_level(given):
    with pytest.raises(ArsbenchError, match="level"):
        registry.parse_levels(given)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """``packages(("name", "point = module:Class"), ...)`` installs distributions that register protectors."""

    def install(*distributions):
        for number, (name, point) in enumerate(distributions):
            folder = tmp_path / f"path{number}" / f"{name}-1.{number}.dist-info"
            folder.mkdir(parents=True)
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{number}\n")
            (folder / "entry_points.txt").write_text(f"[arsbench.protectors]\n{point}\n")
            monkeypatch.syspath_prepend(str(folder.parent))
        registry._entry_points.cache_clear()

    yield install
    monkeypatch.undo()
    registry._entry_points.cache_clear()


def test_a_name_that_two_packages_register_is_an_error_that_names_both(packages):
    packages(("mine", "pgd = mine:PGD"))
    with pytest.raises(
        ArsbenchError, match=r"'pgd' is registered more than once, by mine 1\.0 \(mine:PGD\) and arsbench"
    ):
        registry.find("protector", "pgd")
    assert registry.find("protector", "fgsm").name == "fgsm"


def test_two_strangers_are_named_too(packages):
    packages(("one", "new = one:New"), ("two", "new = two:New"))
    with pytest.raises(ArsbenchError, match=r"(one|two) 1\.\d \(.*\) and (one|two) 1\.\d"):
        registry.find("protector", "new")


def test_a_package_that_is_found_twice_is_one(packages):
    packages(("my_own", "fgsm2 = arsbench.protectors.fgsm:FGSM"), ("my-own", "fgsm2 = arsbench.protectors.fgsm:FGSM"))
    with pytest.raises(ArsbenchError, match="calls itself 'fgsm'"):
        registry.find("protector", "fgsm2")


def test_a_package_that_exits_as_it_loads_is_one_sentence(packages, tmp_path, monkeypatch):
    (tmp_path / "exits_at_once.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(str(tmp_path))
    packages(("exiting", "exiting = exits_at_once:P"))
    with pytest.raises(ArsbenchError, match=r"'exiting' of exiting 1\.0 cannot be loaded: SystemExit: 0"):
        registry.find("protector", "exiting")
