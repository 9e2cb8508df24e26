"""Requests at the door: what is taken over, and what is refused with which words."""

from __future__ import annotations

import pickle

import cv2
import grpc
import numpy as np
import pytest

from app import errors
from app.core.clock import Clock
from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.core.wanted import AS_CONFIGURED, Wanted
from app.rpc.codes import COMMITTED_EPOCH, MAX_FPS, UNKNOWN_FAULT, committed_epoch, max_fps, metadata_of, status_of
from app.rpc.conversion import read_request, write_response
from app.rpc.sightline.inference.v1 import inference_pb2 as pb

NOW_NS = 1_768_046_400_000_000_000


def jpeg(width: int = 64, height: int = 36) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].tobytes()


def clock() -> Clock:
    return Clock(wall_ns=lambda: NOW_NS, monotonic=lambda: 100.0)


def request(**fields: object) -> pb.DetectRequest:
    message = pb.DetectRequest(camera_id="gate-1", image=jpeg())
    captured = fields.pop("captured_at_ns", None)
    if captured is not None:
        message.captured_at.seconds, message.captured_at.nanos = divmod(captured, 1_000_000_000)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def test_a_request_with_the_least_is_completed():
    taken = read_request(request(), clock())
    assert len(taken.frame_id) == 32
    assert taken.captured_at_ns == NOW_NS
    assert (taken.source_width, taken.source_height) == (64, 36)
    assert taken.deadline == pytest.approx(110.0)
    assert taken.due_at_ns is None


def test_the_deadline_is_the_arrival_by_our_own_clock_plus_the_budget_whatever_the_capture_time():
    taken = read_request(request(latency_budget_ms=150, captured_at_ns=NOW_NS - 10**12), clock())
    assert taken.deadline == pytest.approx(100.15)
    assert taken.due_at_ns == NOW_NS + 150_000_000


def test_a_budget_beyond_the_service_s_patience_still_says_when_the_event_is_due():
    taken = read_request(request(latency_budget_ms=30_000), clock())
    assert taken.deadline == pytest.approx(110.0)
    assert taken.due_at_ns == NOW_NS + 30_000_000_000


def test_the_source_s_size_may_be_larger_than_the_image_s_when_the_shape_is_the_same():
    taken = read_request(request(source_width=1920, source_height=1080), clock())
    assert (taken.source_width, taken.source_height) == (1920, 1080)


def test_rounding_of_a_shrunk_image_to_whole_pixels_is_no_other_shape():
    message = request(source_width=1920, source_height=1080, image=jpeg(33, 19))
    assert read_request(message, clock()).source_width == 1920


@pytest.mark.parametrize(
    ("fields", "error", "part"),
    [
        ({"camera_id": ""}, errors.RequestError, "camera_id"),
        ({"camera_id": "no spaces"}, errors.RequestError, "camera_id"),
        ({"camera_id": "gate-1\n"}, errors.RequestError, "camera_id"),
        ({"camera_id": "x" * 65}, errors.RequestError, "camera_id"),
        ({"frame_id": "x" * 300}, errors.RequestError, "frame_id"),
        ({"captured_at_ns": NOW_NS + 61 * 10**9}, errors.RequestError, "future"),
        ({"source_width": 64}, errors.RequestError, "both or neither"),
        ({"source_width": 640, "source_height": 480}, errors.RequestError, "shape"),
        ({"encode_ms": float("nan")}, errors.RequestError, "encode_ms"),
        ({"image": b""}, errors.ImageError, ""),
        ({"image": b"no image at all"}, errors.ImageError, ""),
        ({"image": jpeg()[:200]}, errors.ImageError, ""),
    ],
)
def test_a_request_that_breaks_the_contract_is_refused(fields, error, part):
    with pytest.raises(error) as caught:
        read_request(request(**fields), clock())
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_capture_time_a_minute_ahead_is_still_taken():
    assert read_request(request(captured_at_ns=NOW_NS + 60 * 10**9), clock()).captured_at_ns > NOW_NS


def test_a_capture_time_older_than_an_event_may_be_is_refused_as_one_of_the_future_is():
    limit_s = 7 * 86_400
    at_the_limit = request(captured_at_ns=NOW_NS - limit_s * 10**9)
    assert read_request(at_the_limit, clock(), limit_s).captured_at_ns == NOW_NS - limit_s * 10**9
    older = request(captured_at_ns=NOW_NS - (limit_s + 1) * 10**9)
    with pytest.raises(errors.RequestError, match=r"604801 s in the past; allowed are 604800 s \(kafka.max_event_age"):
        read_request(older, clock(), limit_s)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ImageError("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.RequestError("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.DeadlineExceeded("x"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (errors.Overloaded("x"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.FrameRepeated("x"), grpc.StatusCode.ABORTED),
        (errors.EpochSuperseded("x"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.Unauthenticated("x"), grpc.StatusCode.UNAUTHENTICATED),
        (errors.ModelUnavailable("x"), grpc.StatusCode.UNAVAILABLE),
        (errors.DeliveryUnavailable("x"), grpc.StatusCode.UNAVAILABLE),
        (errors.DeliveryRefused("x"), grpc.StatusCode.UNAVAILABLE),
        (errors.InferenceFailed("x"), grpc.StatusCode.INTERNAL),
    ],
)
def test_each_error_has_its_code(error: errors.SightlineError, code: grpc.StatusCode):
    assert status_of(error) == (code, "x")


def test_the_refusal_of_an_older_epoch_names_the_committed_one_also_after_it_crossed_processes():
    error = pickle.loads(pickle.dumps(errors.EpochSuperseded("x", committed=2**64 - 1)))
    assert str(error) == "x"
    assert committed_epoch(metadata_of(error)) == 2**64 - 1
    assert metadata_of(errors.EpochSuperseded("x")) == metadata_of(errors.FrameRepeated("x")) == []
    assert committed_epoch([("request_id", "7")]) is None
    assert committed_epoch([(COMMITTED_EPOCH, "soon")]) is None


def test_a_defect_is_internal_and_shows_nothing_of_its_text():
    assert status_of(KeyError("secret")) == (grpc.StatusCode.INTERNAL, UNKNOWN_FAULT)


def test_a_request_can_be_pickled_as_serve_s_python_proxy_does():
    message = request(frame_id="f")
    assert pickle.loads(pickle.dumps(message)) == message


def test_what_a_request_wants_detected_is_read_and_what_it_leaves_out_is_the_service_s():
    assert read_request(request(), clock()).wanted == AS_CONFIGURED
    message = request(confidence=0.0)
    message.classes.extend(["person", "car"])
    assert read_request(message, clock()).wanted == Wanted(0.0, ("person", "car"))
    assert read_request(request(model="ppe"), clock()).wanted == Wanted(model="ppe")
    assert read_request(request(confidence=1.0), clock()).wanted.confidence == 1.0
    assert read_request(request(untracked=True), clock()).wanted == Wanted(tracked=False)


def test_a_response_has_the_track_of_each_object_that_has_one():
    box = (1.0, 2.0, 3.0, 4.0)
    event = DetectionEvent(
        "cam", "f", 0, 640, 360, "m.pt",
        (DetectedObject("car", 2, 0.9, box, track_id=2**53 - 1), DetectedObject("car", 2, 0.9, box)),
        StageLatencies(1, 1, 1, 1, 1),
    )  # fmt: skip
    tracked, untracked = write_response(event, 5.0).detections
    assert tracked.track_id == 2**53 - 1
    assert not untracked.HasField("track_id")


@pytest.mark.parametrize("confidence", [-0.01, 1.01, 40.0, float("nan"), float("inf")])
def test_a_confidence_outside_0_to_1_is_refused(confidence: float):
    with pytest.raises(errors.RequestError, match=r"^confidence .* is not allowed: 0 to 1$"):
        read_request(request(confidence=confidence), clock())


@pytest.mark.parametrize(
    ("classes", "refusal"),
    [
        (["car", "x" * 257], "classes has a label of 257 characters; allowed are 256"),
        (["car"] * 10_001, "classes has 10001 labels; allowed are 10000"),
    ],
)
def test_more_or_longer_labels_than_a_model_has_are_refused(classes: list[str], refusal: str):
    message = request()
    message.classes.extend(classes)
    with pytest.raises(errors.RequestError, match=f"^{refusal}$"):
        read_request(message, clock())


def test_a_refusal_for_lack_of_time_or_room_says_how_often_to_send():
    for error in (errors.DeadlineExceeded("late"), errors.Overloaded("full")):
        assert max_fps(metadata_of(error, 7.5)) == 7.5
        assert metadata_of(error) == []
    assert metadata_of(errors.ImageError("no image"), 7.5) == []
    for written in ("soon", "-1", "0", "nan", "1.2.3", b"7"):
        assert max_fps([(MAX_FPS, written)]) is None


def test_an_answer_says_how_often_to_send_where_the_service_says_so():
    event = DetectionEvent("cam", "f", 0, 320, 180, "m.pt", (), StageLatencies(0, 0, 0, 0, 0))
    assert not write_response(event, 5.0).HasField("max_fps")
    assert write_response(event, 5.0, 7.5).max_fps == 7.5
