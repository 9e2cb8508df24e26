"""Pictures are handed to the publisher where its receipts ask for them, and nowhere else."""

from __future__ import annotations

from app.core.image_header import ImageHeader
from app.core.wanted import Wanted
from app.ingress.picture_requests import MAX_CAMERAS, PictureRequests
from app.publisher import Receipt
from app.rpc.request import DetectionRequest

ASKS, DOES_NOT = Receipt("1", pictured=True), Receipt("2")


def request(camera_id: str = "gate", *classes: str) -> DetectionRequest:
    header = ImageHeader("jpeg", 32, 24, 1)
    return DetectionRequest(
        camera_id, "1", b"picture", header, 32, 24, 0, 0, 0.0, 1.0, None, 1, 1, 0.0, Wanted(classes=classes)
    )


def test_a_camera_s_pictures_go_along_from_the_receipt_that_asks_to_the_one_that_does_not():
    pictures = PictureRequests()
    assert pictures.picture_of(request()) is None
    pictures.note("gate", ASKS)
    assert pictures.picture_of(request()) == b"picture"
    assert pictures.picture_of(request("yard")) is None
    pictures.note("gate", Receipt("1", repeated=True))  # which does not know
    assert pictures.picture_of(request()) == b"picture"
    pictures.note("gate", DOES_NOT)
    assert pictures.picture_of(request()) is None


def test_a_picture_in_which_nothing_to_be_hidden_was_looked_for_is_not_handed_over():
    pictures = PictureRequests(["person"])
    pictures.note("gate", ASKS)
    assert pictures.picture_of(request("gate", "car")) is None
    assert pictures.picture_of(request("gate", "car", "person")) == b"picture"
    assert pictures.picture_of(request("gate")) == b"picture"


def test_the_cameras_that_are_remembered_are_bounded():
    pictures = PictureRequests()
    for number in range(MAX_CAMERAS + 1):
        pictures.note(f"camera-{number}", ASKS)
    assert pictures.picture_of(request("camera-0")) is None
    assert pictures.picture_of(request("camera-1")) == b"picture"
