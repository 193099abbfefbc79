from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arsbench.reports.charts import Line, panel, thumbnail
from arsbench.reports.pages import web_link
from arsbench.reports.table import Value


def points(svg, style):
    (found,) = re.findall(rf'<polyline class="{style}" points="([^"]*)"', svg)
    return [tuple(map(float, point.split(","))) for point in found.split()]


def test_a_thumbnail_runs_from_one_at_the_top_to_zero_at_the_bottom():
    svg = thumbnail(Line("mine", {0: 1.0, 5: 0.0, 1: 0.5}), [Line("brighten", {0: 0.25, 5: 0.25}, "brighten")])
    assert points(svg, "own") == [(2, 2), (20.4, 15), (94, 28)]
    assert points(svg, "brighten") == [(2, 21.5), (94, 21.5)]
    assert "level 0 1.00, level 1 0.50, level 5 0.00" in svg


def test_the_band_encloses_the_interval():
    svg = panel("sr", [Line("mine", {0: 0.5, 1: 0.5}, "own", {0: Value(0.5, 0.25, 0.75), 1: Value(0.5, 0, 1)})], True)
    (band,) = re.findall(r'<polygon class="band" points="([^"]*)"', svg)
    assert band == "38.0,41.0 80.8,10.0 80.8,134.0 38.0,103.0"


def test_names_are_text():
    svg = thumbnail(Line('"><script>', {0: 1.0}), [])
    assert "<script>" not in svg
    assert "&lt;script&gt;" in svg


@given(st.lists(st.floats(0, 90), min_size=1, max_size=6))
def test_every_value_lies_inside_its_panel(values):
    svg = panel("PSNR", [Line("mine", dict(enumerate(values)))], share=False)
    assert all(38 <= x <= 252 and 9.9 <= y <= 134.1 for x, y in points(svg, "own"))


@pytest.mark.parametrize("address", ["https://example.org/a?b=c#d", "http://example.org", " https://example.org/ "])
def test_addresses_of_the_web_are_links(address):
    assert web_link(address) == address.strip()


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//example.org",
        "example.org",
        "https://",
        "https://a b",
        'https://a"onclick="x',
        "https://a\njavascript:x",
        "https://[",
        "",
    ],
)
def test_nothing_else_is_a_link(address):
    assert web_link(address) == ""
