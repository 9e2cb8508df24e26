"""What is to be hidden cannot be seen, and everything else stays as it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.core.anonymiser import Anonymiser
from app.core.event import DetectedObject
from app.errors import ImageError

RNG = np.random.default_rng(5)
NOISE = RNG.integers(0, 255, (120, 160, 3), np.uint8)


def seen(label: str, *bbox: float) -> DetectedObject:
    return DetectedObject(label, 0, 0.9, (bbox[0], bbox[1], bbox[2], bbox[3]))


def test_a_hidden_box_is_at_most_six_blocks_of_one_colour_and_the_rest_is_untouched():
    painted = Anonymiser(["person"]).paint(NOISE, [seen("person", 50, 30, 40, 60), seen("car", 0, 0, 30, 20)], 160, 120)
    inside = painted[24:96, 46:94]  # a tenth larger at each side
    assert len(np.unique(inside.reshape(-1, 3), axis=0)) <= 36
    outside = np.ones(NOISE.shape[:2], bool)
    outside[24:96, 46:94] = False
    assert (painted[outside] == NOISE[outside]).all()
    assert not (inside == NOISE[24:96, 46:94]).all(axis=2).any()


def test_the_image_that_was_given_is_left_as_it_is():
    before = NOISE.copy()
    Anonymiser(["person"]).paint(NOISE, [seen("person", 0, 0, 160, 120)], 160, 120)
    assert (before == NOISE).all()


@pytest.mark.parametrize("bbox", [(-20, -20, 30, 30), (150, 100, 40, 40), (10, 10, 0, 0), (500, 500, 10, 10)])
def test_a_box_at_the_edge_without_extent_or_outside_is_no_fault(bbox: tuple[float, float, float, float]):
    painted = Anonymiser(["person"]).paint(NOISE, [seen("person", *bbox)], 160, 120)
    assert painted.shape == NOISE.shape


def test_boxes_are_in_pixels_of_the_frame_which_may_be_larger_than_the_picture():
    painted = Anonymiser(["person"]).paint(NOISE, [seen("person", 500, 300, 400, 600)], 1600, 1200)
    assert len(np.unique(painted[24:96, 46:94].reshape(-1, 3), axis=0)) <= 36


def test_bytes_in_which_nothing_is_to_be_hidden_stay_the_very_bytes():
    jpeg = bytes(cv2.imencode(".jpg", NOISE)[1])
    assert Anonymiser(["person"]).apply(jpeg, [seen("car", 0, 0, 50, 50)], 160, 120) is jpeg
    assert Anonymiser().apply(jpeg, [seen("person", 0, 0, 50, 50)], 160, 120) is jpeg
    assert not Anonymiser()


def test_bytes_that_cannot_be_decoded_are_not_passed_on():
    with pytest.raises(ImageError):
        Anonymiser(["person"]).apply(b"\xff\xd8 no picture", [seen("person", 0, 0, 50, 50)], 160, 120)
