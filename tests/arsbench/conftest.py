from __future__ import annotations

from pathlib import Path

import pytest

FAKES = Path(__file__).with_name("fakes.py")


@pytest.fixture
def fake():
    """``fake("Push")`` names a class of fakes.py as a user would."""
    return lambda name: f"{FAKES}:{name}"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the cache of the user."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "arsbench" / "references"


@pytest.fixture
def no_reports(monkeypatch):
    """Tables and figures take longer than the run itself."""
    monkeypatch.setattr("arsbench.reports.write", lambda *given, **named: [])


@pytest.fixture
def small(fake):
    """Keywords of a run that takes a moment."""
    return {
        "protector": fake("Push"),
        "manipulator": fake("Mirror"),
        "perturbation": "dropout,gaussian_blur",
        "level": "0,5",
        "images": 5,
    }
