from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arsbench.contracts import ArsbenchError
from arsbench.face_networks.detector import Detection
from arsbench.photos.crop import Box, choose_crops, find_faces, framed
from tests.arsbench.photos import twelve_photos


def test_the_real_face_is_found_where_it_is():
    (face,) = find_faces(twelve_photos.astronaut())
    assert face.left < 200 < 245 < face.right
    assert face.top < 100 < 160 < face.bottom
    assert 80 < face.right - face.left < 170


def test_generated_faces_are_found_where_they_were_put():
    picture = twelve_photos.with_face(1000, 700, (48, 150, 200, 260), (49, 600, 250, 260))
    crops = choose_crops(picture, "all", "photo.png")
    assert len(crops) == 2
    for left, top in ((150, 200), (600, 250)):
        assert any(abs(c.left - left) < 60 and abs(c.top - top) < 60 and abs(c.width - 260) < 80 for c in crops)


def test_the_largest_face_alone_is_taken_on_demand():
    picture = twelve_photos.with_face(1000, 700, (48, 100, 100, 200), (49, 500, 250, 360))
    (crop,) = choose_crops(picture, "largest", "photo.png")
    assert crop.left > 400


def test_without_a_face_the_way_out_is_named():
    with pytest.raises(ArsbenchError, match=r"no face was found in field.jpg; .*--faces none"):
        choose_crops(twelve_photos.background(400, 300, 0), "all", "field.jpg")


def test_none_is_the_whole_picture_and_boxes_are_taken_as_given():
    picture = twelve_photos.background(400, 300, 0)
    assert choose_crops(picture, "none", "p") == [Box(0, 0, 400, 300)]
    assert choose_crops(picture, "10,20,110,140; 200,20,300,120", "p") == [
        Box(10, 20, 110, 140),
        Box(200, 20, 300, 120),
    ]


@pytest.mark.parametrize("faces", ["face", "1,2,3", "10,10,5,50", "0,0,401,300", "0,0,4,4", "-1,0,50,50"])
def test_an_unusable_box_is_told(faces):
    with pytest.raises(ArsbenchError, match="LEFT,TOP,RIGHT,BOTTOM"):
        choose_crops(twelve_photos.background(400, 300, 0), faces, "p")


@given(
    st.floats(-50, 350),
    st.floats(-50, 250),
    st.floats(5, 400),
    st.floats(5, 400),
    st.integers(20, 400),
    st.integers(20, 400),
)
def test_a_crop_lies_in_the_photo_and_is_a_square_where_that_fits(left, top, w, h, width, height):
    box = framed(Detection(left, top, left + w, top + h, 0.9), width, height)
    assert 0 <= box.left < box.right <= width
    assert 0 <= box.top < box.bottom <= height
    assert box.width == box.height or width in (box.width, box.height) or height in (box.width, box.height)
