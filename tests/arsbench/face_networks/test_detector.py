"""The tiny face detector against the original under Node: face_detector.json, made by face_detector.cjs."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch

from arsbench.face_networks.detector import Detection, overlap, without_overlaps
from arsbench.face_networks.loading import load_face_detector
from arsbench.faces.delivery import from_bytes

FIXTURES = Path(__file__).parents[2] / "fixtures"
FOUND = json.loads((FIXTURES / "face_detector.json").read_text())


@pytest.fixture(scope="module")
def pictures():
    return runpy.run_path(str(FIXTURES / "face_detector_pictures.py"))["pictures"]()


def test_every_picture_of_the_original_is_tried(pictures):
    assert sorted(pictures) == sorted(FOUND)
    assert sum(len(faces) for faces in FOUND.values()) >= 6


@pytest.mark.parametrize("name", sorted(FOUND))
def test_it_finds_what_the_original_finds(pictures, name):
    pixels, size = pictures[name]
    found = load_face_detector().detect(from_bytes(torch.from_numpy(pixels.copy())), size)
    assert len(found) == len(FOUND[name])
    for ours, theirs in zip(found, FOUND[name], strict=True):
        assert ours[:4] == pytest.approx(theirs[:4], abs=0.01)
        assert ours.score == pytest.approx(theirs[4], abs=1e-4)


def test_overlap_is_the_shared_part_of_the_union():
    a, b = Detection(0, 0, 10, 10, 0.9), Detection(5, 0, 15, 10, 0.8)
    assert overlap(a, b) == pytest.approx(50 / 150)
    assert overlap(a, Detection(20, 0, 30, 10, 0.8)) == 0


def test_of_two_overlapping_boxes_the_more_certain_one_stays():
    best, same, other = (Detection(x, 0, x + 10, 10, s) for x, s in ((0, 0.9), (2, 0.8), (40, 0.6)))
    assert without_overlaps([best, same, other]) == [best, other]
