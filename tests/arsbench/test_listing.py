from __future__ import annotations

import pytest

from arsbench import registry
from arsbench.listing import FACTS, ordered, shipped
from arsbench.named_sets import TRACK_SIZES
from arsbench.protocol import groups


@pytest.mark.parametrize("kind", ["protector", "perturbation", "manipulator"])
def test_the_source_says_what_the_class_says(kind: str) -> None:
    for name in ordered(kind):
        cls = registry.find(kind, name).cls
        classes = [cls.on(track) for track in TRACK_SIZES] if kind == "manipulator" else [cls]
        entries = shipped(kind, name)
        assert [entry["summary"] for entry in entries] == [registry.summary(cls) for cls in classes]
        for fact in FACTS.get(kind, ()):
            assert [entry[fact] for entry in entries] == [getattr(cls, fact) for cls in classes]


@pytest.mark.parametrize("kind", ["protector", "perturbation", "manipulator"])
def test_all_comes_first(kind: str) -> None:
    table = list(groups(kind)["all"])
    assert ordered(kind)[: len(table)] == table
    assert set(ordered(kind)) == set(registry.names(kind))
