"""Every default stands once: the command line's and Python's agree."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

import arsbench
from arsbench.cli.run import run as command
from arsbench.running.settings import Settings

SETTINGS = {field.name: field.default for field in dataclasses.fields(Settings)}
OPTIONS = command.make_context("run", []).params
ACTIONS = {"no_cache", "like", "plan_only", "dry_run", "as_json"}
"""Options that say what to do with the settings."""
PYTHON = {name: parameter.default for name, parameter in inspect.signature(arsbench.run).parameters.items()}


@pytest.mark.parametrize("name", SETTINGS)
def test_python_and_the_command_line_have_the_settings_defaults(name):
    assert PYTHON[name] == SETTINGS[name]
    if name != "cache":  # --no-cache turns it off
        assert str(OPTIONS[name]) == str(SETTINGS[name])  # a list of budgets is text on the command line


def test_neither_has_a_setting_that_the_other_lacks():
    assert set(OPTIONS) - ACTIONS == set(SETTINGS) - {"cache"}
    assert set(PYTHON) == set(SETTINGS) | {"progress"}
