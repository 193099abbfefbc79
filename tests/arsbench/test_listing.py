from __future__ import annotations

import pytest

from arsbench import registry
from arsbench.listing import ordered, shipped
from arsbench.protocol import groups


@pytest.mark.parametrize("kind", ["protector", "perturbation"])
def test_the_source_says_what_the_class_says(kind: str) -> None:
    for name in ordered(kind):
        cls = registry.find(kind, name).cls
        entry = shipped(kind, name)
        assert entry is not None
        assert entry["summary"] == registry.summary(cls)
        assert entry.get("levels") == getattr(cls, "levels", None)


@pytest.mark.parametrize("kind", ["protector", "perturbation", "manipulator"])
def test_all_comes_first(kind: str) -> None:
    table = list(groups(kind)["all"])
    assert ordered(kind)[: len(table)] == table
    assert set(ordered(kind)) == set(registry.names(kind))
