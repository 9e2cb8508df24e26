"""The service: one call from its bytes to its durable event, with stand-ins for detector and publisher."""

from __future__ import annotations

import asyncio
import time
import urllib.request

import grpc
import numpy as np
import pytest

from app.core.event import WeakDetection
from app.core.wanted import AS_CONFIGURED, Wanted
from app.detection.detections import Detections
from app.errors import (
    DeliveryUnavailable,
    ImageError,
    InferenceFailed,
    ModelUnavailable,
    Overloaded,
    RequestError,
    SightlineError,
    Unauthenticated,
)
from app.ingress.telemetry import ServiceTelemetry
from app.rpc.codes import status_of
from app.telemetry.prometheus_page import PageMeter
from tests.support.detection_service import IMAGE, ServiceFixture


async def test_an_accepted_frame_is_answered_with_the_event_that_was_published():
    fixture = ServiceFixture()
    accepted = await fixture.detect(frame_id="f", epoch=3, sequence=4)
    (submission,) = fixture.publisher.submissions
    assert submission.event is accepted.event
    assert (submission.epoch, submission.sequence) == (3, 4)
    (detected,) = accepted.event.objects
    assert (detected.label, detected.class_id) == ("car", 2)
    assert detected.bbox == pytest.approx((10, 20, 100, 100))


async def test_the_answer_has_the_tracks_that_the_commit_gave():
    fixture = ServiceFixture()
    fixture.publisher.track_ids = (7,)
    accepted = await fixture.detect()
    assert [one.track_id for one in accepted.event.objects] == [7]
    assert [one.track_id for one in fixture.publisher.submissions[0].event.objects] == [None]


async def test_weak_boxes_go_to_the_publisher_in_pixels_of_the_source_and_into_no_answer():
    fixture = ServiceFixture()
    fixture.detector.weak = Detections(
        np.array([[100, 50, 400, 90]], np.float32), np.array([0.25], np.float32), np.array([2], np.int64)
    )
    accepted = await fixture.detect(source_width=640, source_height=360)
    (submission,) = fixture.publisher.submissions
    assert len(accepted.event.objects) == len(submission.event.objects) == 1
    assert submission.weak == (WeakDetection(2, 0.25, (200.0, 100.0, 440.0, 80.0)),)


@pytest.mark.parametrize("untracked", [False, True])
async def test_whether_a_camera_is_tracked_goes_with_its_frame(untracked: bool):
    fixture = ServiceFixture()
    await fixture.detect(untracked=untracked)
    assert fixture.publisher.submissions[0].tracked is not untracked


async def test_what_a_request_wants_detected_goes_to_the_detector_with_its_image():
    fixture = ServiceFixture()
    await fixture.detect()
    await fixture.detect(confidence=0.5, classes=["car"])
    assert [batch[0].wanted for batch in fixture.detector.batches] == [AS_CONFIGURED, Wanted(0.5, ("car",))]


async def test_a_model_that_is_not_served_is_an_invalid_argument_and_costs_the_detector_nothing():
    fixture = ServiceFixture()
    await fixture.detect(model="default")
    for name in ("ppe", "two\nlines" * 1000):
        with pytest.raises(RequestError, match="is not served; there is default") as refused:
            await fixture.detect(model=name)
        code, details = status_of(refused.value)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "\n" not in details
        assert len(details) < 200
    assert len(fixture.detector.batches) == 1


async def test_a_label_that_the_model_has_not_is_an_invalid_argument():
    fixture = ServiceFixture()
    fixture.detector.fault = RequestError("classes: 'dog' is no label of m.pt; allowed are car")
    with pytest.raises(RequestError) as refused:
        await fixture.detect(classes=["dog"])
    assert status_of(refused.value) == (grpc.StatusCode.INVALID_ARGUMENT, str(fixture.detector.fault))
    assert fixture.publisher.submissions == []


async def test_the_budget_goes_with_the_event_to_the_publisher_where_the_call_names_one():
    fixture = ServiceFixture()
    before = time.time_ns()
    await fixture.detect(latency_budget_ms=5000)
    await fixture.detect()
    first, second = fixture.publisher.submissions
    assert first.due_at_ns is not None
    assert before <= first.due_at_ns - 5_000_000_000 <= time.time_ns()
    assert second.due_at_ns is None


async def test_a_frame_that_reached_the_limit_of_detections_is_marked_and_counted():
    meter, fixture = PageMeter(), ServiceFixture()
    telemetry = ServiceTelemetry(meter)
    for fixture.detector.truncated in (False, True):
        accepted = await fixture.detect()
        telemetry.answered(accepted.event)
        assert fixture.publisher.submissions[-1].event.truncated is fixture.detector.truncated
    with meter.served("127.0.0.1", 0) as address:
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(address, timeout=10).read().decode())
    assert 'ray_sightline_frames_truncated_total{camera_id="cam"} 1.0' in page


async def test_boxes_are_brought_to_the_size_of_the_source_and_clipped_to_it():
    fixture = ServiceFixture()
    accepted = await fixture.detect(source_width=1280, source_height=720)
    assert accepted.event.objects[0].bbox == pytest.approx((40, 80, 400, 400))
    assert (accepted.event.width, accepted.event.height) == (1280, 720)


async def test_a_box_that_the_model_turned_inside_out_is_published_empty():
    fixture = ServiceFixture()
    fixture.detector.box = [110, 120, 10, 20]
    (detected,) = (await fixture.detect()).event.objects
    assert detected.bbox[2:] == (0.0, 0.0)


async def test_the_time_of_a_frame_is_reported_by_stage():
    latency = (await ServiceFixture().detect(encode_ms=4.0)).event.latency
    assert (latency.encode, latency.decode, latency.inference) == (4.0, 1.0, 2.0)
    assert latency.queue >= 0
    assert latency.transport >= 0


async def test_a_wrong_token_is_refused_before_anything_is_looked_at():
    fixture = ServiceFixture(token="right")
    for metadata in ({}, {"authorization": "Bearer wrong"}, {"authorization": "right"}):
        with pytest.raises(Unauthenticated):
            await fixture.detect(metadata, image=b"not even an image")
    await fixture.detect({"authorization": "Bearer right"})


async def test_a_bad_image_costs_the_model_nothing():
    fixture = ServiceFixture()
    with pytest.raises(ImageError):
        await fixture.detect(image=IMAGE[:100])
    assert fixture.detector.batches == []


async def test_without_a_replica_a_frame_is_refused_at_once():
    with pytest.raises(ModelUnavailable):
        await ServiceFixture(slots=0).detect()


@pytest.mark.parametrize("error", [ModelUnavailable("gone"), Overloaded("full")])
async def test_what_befalls_the_detector_befalls_the_call_and_nothing_is_published(error: SightlineError):
    fixture = ServiceFixture()
    fixture.detector.error = error
    with pytest.raises(type(error)):
        await fixture.detect()
    assert fixture.publisher.submissions == []


async def test_an_image_on_which_the_model_fails_is_its_own_fault_only():
    fixture = ServiceFixture()
    fixture.detector.fault = InferenceFailed("the model failed")
    with pytest.raises(InferenceFailed):
        await fixture.detect()
    fixture.detector.fault = None
    await fixture.detect()


async def test_a_frame_whose_event_cannot_be_made_durable_is_not_answered_ok():
    fixture = ServiceFixture()
    fixture.publisher.answer = DeliveryUnavailable("Kafka is away")
    with pytest.raises(DeliveryUnavailable):
        await fixture.detect()
