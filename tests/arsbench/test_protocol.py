from __future__ import annotations

import dataclasses

import pytest

from arsbench import protocol
from arsbench.contracts import ArsbenchError
from arsbench.scoring.columns import MEASURED, SCORES


def test_hash_is_the_same_each_time():
    assert protocol.protocol("open").hash == protocol.protocol.__wrapped__("open").hash


def test_tracks_differ():
    assert protocol.protocol("open").hash != protocol.protocol("paper").hash


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(protocol.Protocol)])
def test_every_definition_enters_the_hash(field):
    original = protocol.protocol("open")
    assert dataclasses.replace(original, **{field: "changed"}).hash != original.hash


def test_thresholds_are_those_of_the_metrics(monkeypatch):
    monkeypatch.setattr(protocol, "SR_THRESHOLD", 0.06)
    assert dict(protocol.protocol.__wrapped__("open").thresholds)["sr"] == 0.06


def test_levels_are_those_of_the_classes():
    assert dict(protocol.protocol("open").perturbations)["jpeg"] == (90, 75, 60, 45, 30)


def test_tracks_have_their_own_levels():
    blur = [dict(protocol.protocol(track).perturbations)["gaussian_blur"] for track in ("open", "paper")]
    assert blur == [(0.5, 0.75, 1, 1.5, 2), (1.17, 1.5, 2.17, 2.83, 3.5)]


def test_every_score_of_a_row_is_defined():
    defined = {name for name, _, _ in protocol.protocol("open").metrics}
    assert {column.name for column in SCORES} <= defined
    assert defined <= {column.name for column in MEASURED}


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        protocol.protocol("open").size = 32


def test_unknown_track():
    with pytest.raises(ArsbenchError, match="did you mean open"):
        protocol.protocol("opne")
