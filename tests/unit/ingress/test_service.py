"""The service: one call from its bytes to its durable event, with stand-ins for detector and publisher."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Sequence

import cv2
import grpc
import numpy as np
import pytest

from app.core.event import DetectionEvent, WeakDetection
from app.core.wanted import AS_CONFIGURED, Wanted
from app.detection import ImageOutcome
from app.detection.detections import Detections
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo, expired
from app.errors import (
    DeadlineExceeded,
    DeliveryUnavailable,
    ImageError,
    InferenceFailed,
    ModelUnavailable,
    Overloaded,
    RequestError,
    SightlineError,
    Unauthenticated,
)
from app.ingress.service import DetectionService, ServiceLimits
from app.ingress.telemetry import ServiceTelemetry
from app.publisher import Receipt, Submission
from app.rpc.codes import status_of
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.telemetry.prometheus_page import PageMeter

IMAGE = cv2.imencode(".jpg", np.full((180, 320, 3), 90, np.uint8))[1].tobytes()


class Detector:
    """Finds one car in every picture, unless set otherwise."""

    def __init__(self) -> None:
        self.batches: list[list[DetectorJob]] = []
        self.box = [10, 20, 110, 120]
        self.truncated = False
        self.weak: Detections | None = None
        self.error: SightlineError | None = None
        self.fault: SightlineError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        self.batches.append(list(jobs))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        boxes = np.array([self.box], np.float32)
        car = Detections(boxes, np.array([0.9], np.float32), np.array([2], np.int64), self.truncated, self.weak)
        detected = ImageOutcome(None if self.fault else car, self.fault, 320, 180, 1.0, 2.0)
        return DetectorAnswer((detected,) * len(jobs), ModelInfo("m.pt", {2: "car"}, "cpu"))


class Publisher:
    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.answer: SightlineError | None = None
        self.track_ids: tuple[int | None, ...] = ()
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, submissions: Sequence[Submission]) -> Sequence[Receipt | SightlineError]:
        await self.gate.wait()
        self.submissions += submissions
        return [self.answer or Receipt(one.event.event_id, track_ids=self.track_ids) for one in submissions]


class Observer:
    """Keeps how many frames waited, each time it was called."""

    def __init__(self) -> None:
        self.waits: list[int] = []

    def batch(self, size: int) -> None:
        """Do nothing."""

    def waiting(self, frames: int) -> None:
        self.waits.append(frames)

    def answered(self, event: DetectionEvent) -> None:
        """Do nothing."""


class ServiceFixture:
    """A service with all it needs, within reach."""

    def __init__(self, slots: int = 1, token: str | None = None, **limits: int) -> None:
        self.detector, self.publisher, self.observer = Detector(), Publisher(), Observer()
        self.service = DetectionService(
            self.detector, [self.publisher], limits=ServiceLimits(**limits), observer=self.observer, token=token
        )
        self.service.resize(slots)

    async def detect(self, metadata: dict[str, str] | None = None, **fields: object):
        request = pb.DetectRequest(**{"camera_id": "cam", "image": IMAGE, **fields})
        return await self.service.detect(request, metadata or {})


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


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


async def test_a_frame_whose_budget_runs_out_while_it_waits_costs_the_model_nothing():
    fixture = ServiceFixture()
    fixture.detector.gate.clear()
    busy = asyncio.create_task(fixture.detect())
    await until(lambda: len(fixture.detector.batches) == 1)
    with pytest.raises(DeadlineExceeded):
        await fixture.detect(latency_budget_ms=20)
    fixture.detector.gate.set()
    await busy
    assert len(fixture.detector.batches) == 1


async def test_more_frames_than_may_wait_are_refused_at_once():
    fixture = ServiceFixture(max_waiting=1)
    fixture.detector.gate.clear()
    taken = [asyncio.create_task(fixture.detect()) for _ in range(2)]
    await until(lambda: len(fixture.detector.batches) == 1)
    with pytest.raises(Overloaded):
        await fixture.detect()
    fixture.detector.gate.set()
    await asyncio.gather(*taken)


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


async def test_frames_that_wait_go_to_the_model_together():
    fixture = ServiceFixture(max_batch_size=8)
    fixture.detector.gate.clear()
    calls = [asyncio.create_task(fixture.detect())]
    await until(lambda: len(fixture.detector.batches) == 1)
    calls += [asyncio.create_task(fixture.detect()) for _ in range(3)]
    await until(lambda: fixture.service.load.frames_waiting == 3)
    fixture.detector.gate.set()
    await asyncio.gather(*calls)
    assert [len(batch) for batch in fixture.detector.batches] == [1, 3]


async def test_how_many_frames_wait_for_a_detector_is_reported_with_every_batch_and_when_asked():
    fixture = ServiceFixture(max_batch_size=2)
    fixture.detector.gate.clear()
    calls = [asyncio.create_task(fixture.detect()) for _ in range(5)]
    await until(lambda: len(fixture.detector.batches) == 1)
    fixture.service.report_waiting()
    assert fixture.observer.waits == [3, 3]
    fixture.detector.gate.set()
    await asyncio.gather(*calls)
    assert [len(batch) for batch in fixture.detector.batches] == [2, 2, 1]
    assert fixture.observer.waits == [3, 3, 1, 0]


def test_a_replica_drops_what_expired_in_its_own_queue():
    class Late:
        @staticmethod
        def monotonic() -> float:
            return 10.5

    assert expired(DetectorJob(b"", 0.4), 10.0, Late) is not None  # type: ignore[arg-type]
    assert expired(DetectorJob(b"", 0.6), 10.0, Late) is None  # type: ignore[arg-type]


async def test_an_event_that_waits_for_the_publisher_is_carried_through_when_its_caller_goes_away():
    fixture = ServiceFixture(publish_calls=1)
    fixture.publisher.gate.clear()
    callers = [asyncio.create_task(fixture.detect(frame_id=str(number))) for number in range(3)]
    await until(lambda: sum(len(batch) for batch in fixture.detector.batches) == 3)
    for _ in range(10):
        await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    fixture.publisher.gate.set()
    await fixture.service.close()
    assert sorted(one.event.frame_id for one in fixture.publisher.submissions) == ["0", "1", "2"]


async def test_more_events_than_may_wait_for_the_publisher_are_unavailable_and_not_overload():
    fixture = ServiceFixture(max_waiting=2, publish_calls=1, publish_batch_size=1, slots=8, max_batch_size=1)
    fixture.publisher.gate.clear()
    callers = []
    for number in range(4):
        callers.append(asyncio.create_task(fixture.detect(frame_id=str(number))))
        await until(lambda: len(fixture.detector.batches) == len(callers))
        for _ in range(10):
            await asyncio.sleep(0)
    with pytest.raises(DeliveryUnavailable):
        await callers[3]
    fixture.publisher.gate.set()
    await asyncio.gather(*callers[:3])


async def test_a_box_that_the_model_turned_inside_out_is_published_empty():
    fixture = ServiceFixture()
    fixture.detector.box = [110, 120, 10, 20]
    (detected,) = (await fixture.detect()).event.objects
    assert detected.bbox[2:] == (0.0, 0.0)


class OutOfStep(Detector):
    """Each batch waits for its own sign, so that the second can be back before the first."""

    def __init__(self) -> None:
        super().__init__()
        self.signs = [asyncio.Event() for _ in range(4)]
        self.busy_s = 0.0

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        number = len(self.batches)
        answer = await super().detect(jobs)
        await self.signs[number].wait()
        return DetectorAnswer(answer.outcomes, answer.model, self.busy_s)


class DeskOutOfStep(ServiceFixture):
    def __init__(self) -> None:
        super().__init__()
        self.detector = OutOfStep()
        self.service = DetectionService(
            self.detector, [self.publisher], limits=ServiceLimits(max_batch_size=4), observer=self.observer
        )
        self.service.resize(2)

    @property
    def published(self) -> list[int]:
        return [submission.sequence for submission in self.publisher.submissions]


async def test_frames_of_a_camera_are_committed_in_their_order_whichever_batch_is_back_first():
    fixture = DeskOutOfStep()
    first = asyncio.create_task(fixture.detect(epoch=1, sequence=1))
    await until(lambda: len(fixture.detector.batches) == 1)
    second = asyncio.create_task(fixture.detect(epoch=1, sequence=2))
    other = asyncio.create_task(fixture.detect(camera_id="other", epoch=1, sequence=7))
    await until(lambda: len(fixture.detector.batches) == 2)
    for sign in fixture.detector.signs[1:]:
        sign.set()
    await other
    assert not second.done()
    fixture.detector.signs[0].set()
    await asyncio.gather(first, second)
    assert fixture.published == [7, 1, 2]


async def test_a_frame_behind_one_that_does_not_come_back_waits_no_longer_than_its_own_budget():
    fixture = DeskOutOfStep()
    stuck = asyncio.create_task(fixture.detect(epoch=1, sequence=1))
    await until(lambda: len(fixture.detector.batches) == 1)
    fixture.detector.signs[1].set()
    await asyncio.wait_for(fixture.detect(epoch=1, sequence=2, latency_budget_ms=50), 10)
    assert fixture.published == [2]
    fixture.detector.signs[0].set()
    await stuck


async def test_a_slow_detector_gets_fewer_frames_at_a_time():
    fixture = DeskOutOfStep()
    fixture.detector.busy_s = 10.0
    for sign in fixture.detector.signs:
        sign.set()
    await fixture.detect()
    fixture.service.resize(0)
    fixture.service.resize(1)
    fixture.detector.gate.clear()
    calls = [asyncio.create_task(fixture.detect(camera_id=f"cam-{number}")) for number in range(3)]
    await until(lambda: len(fixture.detector.batches) == 2)
    fixture.detector.gate.set()
    await asyncio.gather(*calls)
    assert [len(batch) for batch in fixture.detector.batches] == [1, 1, 1, 1]


async def test_frames_are_offered_whatever_becomes_of_them():
    fixture = ServiceFixture(slots=0)
    for sequence in (1, 4):
        with pytest.raises(ModelUnavailable):
            await fixture.detect(epoch=1, sequence=sequence)
    demand = fixture.service.demand
    assert demand.numbered_fps > 0
    assert demand.plain_fps == 0
    assert demand.cameras == 1


async def test_a_frame_that_expires_or_waits_too_long_is_late_and_one_that_is_taken_at_once_is_not():
    fixture = ServiceFixture()
    await fixture.detect()
    assert fixture.service.demand.late_share == 0
    fixture.detector.fault = DeadlineExceeded("the budget ran out before the model was free")
    with pytest.raises(DeadlineExceeded):
        await fixture.detect()
    assert fixture.service.demand.late_share == pytest.approx(0.5)


async def test_a_frame_that_could_not_be_in_time_any_more_does_not_take_the_models_time():
    fixture = ServiceFixture()
    fixture.publisher.gate.clear()
    calls = [asyncio.create_task(fixture.detect(latency_budget_ms=20_000)) for _ in range(20)]
    asyncio.get_running_loop().call_later(0.4, fixture.publisher.gate.set)
    await asyncio.gather(*calls)
    fixture.detector.gate.clear()
    first = asyncio.create_task(fixture.detect(latency_budget_ms=20_000))
    begun = len(fixture.detector.batches)
    await until(lambda: len(fixture.detector.batches) > begun)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await fixture.detect(latency_budget_ms=1000)
    assert 0.45 < time.monotonic() - began < 0.8
    fixture.detector.gate.set()
    await first
