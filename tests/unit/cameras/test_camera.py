"""A camera as a whole: each sampled frame is sent, counted and settled."""

from __future__ import annotations

import asyncio
import logging

import cv2
import grpc
import numpy as np
import pytest

from app.cameras import CameraState
from app.cameras.camera import Camera
from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.cameras.sending.client import DetectClient
from app.cameras.sources import Capture, RawFrame, open_source
from app.core.clock import Clock
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.cameras import CameraSettings
from app.simulation.spec import StreetSpec
from app.simulation.street import Street
from tests.support.camera_doubles import Observer, Sender, changes, forever
from tests.support.cameras import (
    ScriptedSource,
    Service,
    Sources,
    abort_with,
    accept,
    camera_of,
    running,
    settings,
)
from tests.support.waiting import until


async def test_every_sampled_frame_is_sent_in_order_with_its_identity(service: Service, client: DetectClient):
    observer = Observer()
    camera = camera_of(ScriptedSource(forever()), client, observer=observer)
    async with running(camera):
        await until(lambda: camera.status().ledger.accepted >= 10)
        status = camera.status()
        assert status.state is CameraState.LIVE
        assert (status.width, status.height, status.epoch, status.fps_asked) == (64, 48, 7, 50.0)
        assert status.fps_measured > 0
        assert status.round_trip_ms is not None
    sent = service.requests
    assert all(request.epoch == 7 for request in sent)
    sequences = [request.sequence for request in sent]
    assert sequences == sorted(set(sequences))
    indices = [int(request.frame_id.removeprefix("7-")) for request in sent]
    assert indices == sorted(set(indices))
    assert all(0 < request.latency_budget_ms <= 2000 for request in sent)
    ledger = camera.status().ledger
    assert observer.counted["sampled"] == ledger.sampled
    assert observer.counted["accepted"] == ledger.accepted
    assert observer.flying[-1] == 0
    assert changes(observer.ups)[0] is True


async def test_the_street_arrives_with_the_streets_own_frame_numbers(service: Service, client: DetectClient):
    url = "synthetic://street?seed=5&fps=25&width=320&height=240"
    camera = Camera(settings(url, fps=10), client=client, epoch=3, budget_ms=2000)
    async with running(camera):
        await until(lambda: camera.status().ledger.accepted >= 4)
    street = Street(StreetSpec(seed=5, fps=25.0, width=320, height=240))
    assert service.requests[0].frame_id == "3-0"
    for request in service.requests[:4]:
        index = int(request.frame_id.removeprefix("3-"))
        image = cv2.imdecode(np.frombuffer(request.image, np.uint8), cv2.IMREAD_COLOR)
        assert np.abs(image.astype(int) - street.frame(index).image).mean() < 6


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, DropReason.DEADLINE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, DropReason.OVERLOADED),
        (grpc.StatusCode.INVALID_ARGUMENT, DropReason.REJECTED),
        (grpc.StatusCode.UNAUTHENTICATED, DropReason.REJECTED),
        (grpc.StatusCode.INTERNAL, DropReason.REJECTED),
        (grpc.StatusCode.ABORTED, DropReason.OUT_OF_ORDER),
        (grpc.StatusCode.FAILED_PRECONDITION, DropReason.OUT_OF_ORDER),
        (grpc.StatusCode.UNAVAILABLE, DropReason.UNAVAILABLE),
    ],
)
async def test_each_answer_of_the_service_has_its_place_in_the_ledger(
    service: Service, client: DetectClient, code: grpc.StatusCode, reason: DropReason
):
    service.answer = abort_with(code)
    observer = Observer()
    camera = camera_of(ScriptedSource(forever()), client, observer=observer)
    async with running(camera):
        await until(lambda: camera.status().ledger.dropped[reason] >= 2)
        service.answer = accept
        await until(lambda: camera.status().ledger.accepted >= 2)
        assert camera.status().state is CameraState.LIVE
    assert observer.counted[reason.value] == camera.status().ledger.dropped[reason]


class UnencodableSource(ScriptedSource):
    """Its frames are wider than JPEG allows."""

    def retrieve(self) -> RawFrame:
        return RawFrame.of(np.zeros((1, 70_000, 3), np.uint8), Capture.now(Clock()))


async def test_a_frame_that_cannot_be_encoded_is_counted_and_the_camera_goes_on():
    camera = camera_of(UnencodableSource(forever()), Sender())
    async with running(camera):
        await until(lambda: camera.status().ledger.dropped[DropReason.ENCODE_ERROR] >= 3)
        assert camera.status().state is CameraState.LIVE


async def test_a_fault_in_the_sender_costs_one_frame_and_not_the_camera(caplog: pytest.LogCaptureFixture):
    async def fail_once(frame: EncodedFrame, remaining_s: float) -> Outcome:
        if len(sender.sent) == 1:
            raise RuntimeError("a fault")
        return Outcome.accepted(pb.DetectResponse())

    sender = Sender(fail_once)
    camera = camera_of(ScriptedSource(forever()), sender)
    with caplog.at_level(logging.CRITICAL):
        async with running(camera):
            await until(lambda: camera.status().ledger.accepted >= 2)
    assert camera.status().ledger.unconfirmed == 1


async def test_stopping_counts_the_waiting_frame_and_the_answer_that_does_not_come():
    asked = asyncio.Event()

    async def hang(frame: EncodedFrame, remaining_s: float) -> Outcome:
        asked.set()
        await asyncio.sleep(60)
        raise AssertionError

    camera = camera_of(ScriptedSource([1, 2], every_s=0.02), Sender(hang))
    async with running(camera):
        await asked.wait()
        await until(lambda: camera.status().ledger.sampled == 2)
    ledger = camera.status().ledger
    assert (ledger.dropped[DropReason.SHUTDOWN], ledger.unconfirmed) == (1, 1)


async def test_stopping_waits_for_the_answer_of_the_frame_in_flight():
    asked = asyncio.Event()

    async def soon(frame: EncodedFrame, remaining_s: float) -> Outcome:
        asked.set()
        await asyncio.sleep(0.05)
        return Outcome.accepted(pb.DetectResponse())

    camera = camera_of(ScriptedSource([1]), Sender(soon))
    async with running(camera):
        await asked.wait()
    assert camera.status().ledger.accepted == 1


async def test_a_cancelled_run_settles_every_frame_too():
    camera = camera_of(ScriptedSource(forever()), Sender())
    task = asyncio.create_task(camera.run())
    await until(lambda: camera.status().ledger.accepted >= 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert camera.status().ledger.in_flight == 0
    await camera.stop()


async def test_a_frame_that_fails_while_the_camera_stops_is_counted_and_is_no_trouble(caplog: pytest.LogCaptureFixture):
    refuse, sent = asyncio.Event(), asyncio.Event()

    async def refused_at_last(frame: EncodedFrame, remaining_s: float) -> Outcome:
        sent.set()
        await refuse.wait()
        return Outcome.dropped(DropReason.REJECTED, "no such service")

    camera = camera_of(ScriptedSource(forever()), Sender(refused_at_last), max_in_flight=1)
    async with running(camera):
        await sent.wait()
        stopping = asyncio.create_task(camera.stop())
        await asyncio.sleep(0)
        refuse.set()
        await stopping
    ledger = camera.status().ledger
    assert ledger.dropped[DropReason.REJECTED] == 1
    assert ledger.balanced
    assert caplog.records == []


async def test_a_camera_stopped_before_it_runs_does_not_run():
    sources = Sources(ScriptedSource(forever()))
    camera = camera_of(sources, Sender())
    await camera.stop()
    await camera.run()
    assert sources.opened == 0


def test_a_camera_needs_its_rate():
    bare = CameraSettings.model_validate({"id": "gate", "url": "synthetic://street"})
    with pytest.raises(ValueError, match="fps"):
        Camera(bare, client=Sender(), epoch=1, budget_ms=200, source_factory=open_source)
