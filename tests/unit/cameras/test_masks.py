from __future__ import annotations

import math

import numpy as np
import pytest

from app.cameras.masks import MaskPainter

CORNER = ((0.0, 0.0), (0.25, 0.0), (0.25, 0.5), (0.0, 0.5))


def white(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)


def black(image: np.ndarray) -> np.ndarray:
    return (image == 0).all(2)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1279, 719), (640, 480), (33, 17), (2, 2), (1, 1)])
def test_a_polygon_hides_its_share_of_a_picture_of_any_size(width: int, height: int):
    hidden = black(MaskPainter([CORNER]).paint(white(width, height)))
    assert hidden[: math.floor(0.5 * height), : math.floor(0.25 * width)].all()
    assert not hidden[math.ceil(0.5 * height) + 1 :].any()
    assert not hidden[:, math.ceil(0.25 * width) + 1 :].any()


def test_the_whole_picture_can_be_hidden():
    assert black(MaskPainter([((0, 0), (1, 0), (1, 1), (0, 1))]).paint(white(99, 77))).all()


def test_what_two_polygons_share_is_hidden_too():
    other = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
    hidden = black(MaskPainter([CORNER, other]).paint(white(200, 100)))
    assert hidden[12:48, 22:48].all()
    assert hidden[:50, :50].all()


def test_what_lies_between_the_arms_of_an_outline_that_crosses_itself_is_hidden():
    corners = [(0.5 + 0.45 * math.sin(0.8 * math.pi * n), 0.5 - 0.45 * math.cos(0.8 * math.pi * n)) for n in range(5)]
    hidden = black(MaskPainter([tuple(corners)]).paint(white(400, 400)))
    assert hidden[200, 200]
    assert not hidden[0, 0]


def test_a_polygon_thinner_than_a_pixel_hides_the_pixels_that_it_touches():
    sliver = ((0.1, 0.5), (0.9, 0.5), (0.9, 0.5001))
    assert black(MaskPainter([sliver]).paint(white(100, 100)))[:, 12:88].any(0).all()


def test_the_picture_of_the_source_is_left_as_it_is_and_without_polygons_it_is_no_copy():
    picture = white(64, 48)
    assert MaskPainter([CORNER]).paint(picture) is not picture
    assert (picture == 255).all()
    assert MaskPainter([]).paint(picture) is picture


def test_a_source_that_changes_its_size_is_painted_in_the_new_size():
    painter = MaskPainter([CORNER])
    painter.paint(white(640, 480))
    hidden = black(painter.paint(white(100, 100)))
    assert hidden[:50, :25].all()
    assert not hidden[52:].any()
