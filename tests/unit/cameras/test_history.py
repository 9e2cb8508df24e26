"""Which pictures of a camera are shown, and how."""

from __future__ import annotations

from datetime import UTC, datetime

import cv2
import numpy as np

from app.cameras import FrameHistory
from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.core.anonymiser import Anonymiser
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from tests.support.evidence import persons_hidden, street_pictures

PERSON = pb.Detection(label="person", confidence=0.9, bbox=pb.BoundingBox(x=40, y=20, width=40, height=60))
NOISE = bytes(cv2.imencode(".jpg", np.random.default_rng(3).integers(0, 255, (120, 160, 3), np.uint8))[1])


def frame(number: int, jpeg: bytes = NOISE, width: int = 160, height: int = 120) -> EncodedFrame:
    return EncodedFrame("gate", str(number), 1, number, datetime.now(UTC), 0.0, jpeg, width, height, 1.0)


def judged(*detections: pb.Detection) -> Outcome:
    return Outcome.accepted(pb.DetectResponse(event_id="1", detections=detections))


def unlike(one: bytes, other: bytes) -> np.ndarray:
    """Return where two pictures differ by more than another encoding makes them differ."""
    images = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int) for data in (one, other)]
    return np.abs(images[0] - images[1]).max(axis=2) > 60


def test_without_anything_to_hide_the_newest_frame_is_shown_as_it_was_sent_judged_or_not():
    history = FrameHistory()
    assert history.picture() is None
    history.record(frame(1), judged(PERSON), 0.0)
    assert history.picture().jpeg is NOISE
    history.record(frame(2), Outcome.dropped(DropReason.DEADLINE), 0.0)
    shown = history.picture()
    assert (shown.frame_id, shown.accepted, shown.jpeg) == ("2", False, NOISE)


def test_what_is_to_be_hidden_is_pixelated_and_a_frame_that_was_not_judged_is_not_shown():
    history = FrameHistory(Anonymiser(["person"]))
    history.record(frame(1), Outcome.dropped(DropReason.DEADLINE), 0.0)
    assert history.picture() is None
    history.record(frame(2), judged(PERSON), 0.0)
    history.record(frame(3), Outcome.unconfirmed("lost"), 0.0)
    shown = history.picture()
    assert shown.frame_id == "2"
    changed = unlike(shown.jpeg, NOISE)
    assert changed[20:80, 40:80].mean() > 0.3
    assert changed[:, 100:].mean() < 0.05
    history.record(frame(4), judged(), 0.0)
    assert history.picture().jpeg is NOISE


def test_a_picture_that_cannot_be_anonymised_is_not_shown():
    history = FrameHistory(Anonymiser(["person"]))
    history.record(frame(1, b"\xff\xd8 no picture"), judged(PERSON), 0.0)
    assert history.picture() is None


def test_a_camera_that_does_not_look_for_what_is_to_be_hidden_shows_nothing():
    history = FrameHistory(Anonymiser(["person"]), shows_pictures=False)
    history.record(frame(1), judged(), 0.0)
    assert history.picture() is None


def test_no_picture_of_a_street_shows_a_person_that_was_found():
    history = FrameHistory(Anonymiser(["person"]))
    persons = 0
    for number, picture in enumerate(street_pictures(30, width=320, height=240, objects=12)):
        found = [
            pb.Detection(label=one.label, bbox=pb.BoundingBox(x=x, y=y, width=wide, height=high))
            for one in picture.objects
            for x, y, wide, high in [one.bbox]
        ]
        history.record(frame(number, picture.image, 320, 240), judged(*found), 0.0)
        persons += persons_hidden(picture, history.picture().jpeg)
    assert persons > 20
