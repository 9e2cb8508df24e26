"""A camera's sender: the newest frame, as often as the service can take it."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time

import grpc
import pytest

from app.cameras import CameraState
from app.cameras.camera import CameraTiming
from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.cameras.sending.client import DetectClient
from app.cameras.sources import Capture, RawFrame
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.service_address import ServiceAddress
from tests.support.camera_doubles import Sender, forever
from tests.support.cameras import (
    ScriptedSource,
    Service,
    Sources,
    accept,
    camera_of,
    grey,
    running,
)
from tests.support.waiting import until


async def test_a_slow_service_gets_the_newest_frame_and_the_others_are_superseded(
    service: Service, client: DetectClient
):
    async def slow(request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
        await asyncio.sleep(0.2)
        return await accept(request, context)

    service.answer = slow
    source = ScriptedSource(forever())
    camera = camera_of(source, client, max_in_flight=1)
    async with running(camera):
        await until(lambda: camera.status().ledger.accepted >= 4)
        ledger = camera.status().ledger
        assert ledger.dropped[DropReason.SUPERSEDED] >= 10
        assert ledger.in_flight <= 2
        # What is sent was captured just before: nothing old waits anywhere. A busy machine may delay one or two.
        assert statistics.median(request.latency_budget_ms for request in service.requests) > 1800


async def test_several_frames_may_be_in_flight_where_it_is_asked_for():
    flying, most = 0, 0

    async def slow(frame: EncodedFrame, remaining_s: float) -> Outcome:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.1)
        flying -= 1
        return Outcome.accepted(pb.DetectResponse())

    camera = camera_of(ScriptedSource(forever()), Sender(slow), max_in_flight=2)
    async with running(camera):
        await until(lambda: camera.status().ledger.accepted >= 6)
    assert most == 2


async def test_frames_are_sent_in_their_order_though_several_are_in_flight():
    async def slow(frame: EncodedFrame, remaining_s: float) -> Outcome:
        await asyncio.sleep(0.1)
        return Outcome.accepted(pb.DetectResponse())

    sender = Sender(slow)
    camera = camera_of(ScriptedSource(forever()), sender)
    async with running(camera):
        await until(lambda: camera.status().ledger.accepted >= 12)
    sequences = [frame.sequence for frame in sender.sent]
    assert sequences == sorted(sequences)


async def test_a_frame_that_cannot_be_answered_in_time_is_left_for_a_newer_one_to_replace():
    ages: list[float] = []

    async def slow(frame: EncodedFrame, remaining_s: float) -> Outcome:
        ages.append(time.monotonic() - frame.captured)
        await asyncio.sleep(0.35)
        return Outcome.accepted(pb.DetectResponse())

    camera = camera_of(ScriptedSource(forever()), Sender(slow), budget_ms=400, max_in_flight=1)
    async with running(camera):
        await until(lambda: camera.status().ledger.accepted >= 4)
        assert camera.status().ledger.dropped[DropReason.SUPERSEDED] > 10
    assert max(ages) < 0.3  # 0.1 s is fresh, and what the machine takes to encode


async def test_a_busy_service_is_asked_less_often():
    async def busy(frame: EncodedFrame, remaining_s: float) -> Outcome:
        return Outcome.accepted(pb.DetectResponse(latency=pb.StageLatency(queue_ms=1900)))

    sender = Sender(busy)
    camera = camera_of(ScriptedSource(forever()), sender)
    async with running(camera):
        await until(lambda: camera.status().ledger.sampled >= 100)
        assert len(sender.sent) < 70
        status = camera.status()
        assert status.ledger.dropped[DropReason.SUPERSEDED] > 20
        assert status.dropped_lately.by_reason[DropReason.SUPERSEDED] > 20
        assert status.dropped_lately.held_back > 20
        assert 0 < status.fps_sent < 0.8 * status.fps_measured


async def test_a_frame_that_waited_for_an_answer_was_not_held_back_for_a_busy_service():
    async def far_away(frame: EncodedFrame, remaining_s: float) -> Outcome:
        await asyncio.sleep(0.2)
        return Outcome.accepted(pb.DetectResponse())

    camera = camera_of(ScriptedSource(forever()), Sender(far_away), max_in_flight=1)
    async with running(camera):
        await until(lambda: camera.status().ledger.accepted >= 3)
        lately = camera.status().dropped_lately
        assert lately.by_reason[DropReason.SUPERSEDED] >= 10
        assert lately.held_back == 0


async def test_another_budget_holds_from_the_next_frame_on():
    left: list[float] = []

    async def note(frame: EncodedFrame, remaining_s: float) -> Outcome:
        left.append(remaining_s)
        return Outcome.accepted(pb.DetectResponse())

    camera = camera_of(ScriptedSource(forever()), Sender(note), budget_ms=60_000)
    async with running(camera):
        await until(lambda: len(left) >= 2)
        camera.set_budget(10_000)
        seen = len(left)
        await until(lambda: len(left) >= seen + 3)
    assert min(left[:seen]) > 10
    assert 0 < max(left[seen + 1 :]) <= 10  # one may have been in flight


async def test_frames_dropped_again_and_again_are_one_line_and_so_is_their_end(caplog: pytest.LogCaptureFixture):
    async def refuse_three(frame: EncodedFrame, remaining_s: float) -> Outcome:
        if len(sender.sent) <= 3:
            return Outcome.dropped(DropReason.REJECTED, "no valid token")
        return Outcome.accepted(pb.DetectResponse())

    sender = Sender(refuse_three)
    camera = camera_of(ScriptedSource(forever()), sender)
    with caplog.at_level(logging.INFO):
        async with running(camera):
            await until(lambda: camera.status().ledger.accepted >= 2)
    dropped, again = (record for record in caplog.records if record.name == "app.cameras.sending.outcome_recorder")
    assert dropped.getMessage() == "camera gate: frames are dropped: no valid token (rejected)"
    assert again.getMessage().startswith("camera gate: frames are accepted again after ")


async def test_an_absent_service_never_restarts_the_source_and_is_not_hammered():
    client = DetectClient(ServiceAddress(host="127.0.0.1", port=1))
    sources = Sources(ScriptedSource(forever(), every_s=0.005))
    camera = camera_of(sources, client, timing=CameraTiming(resend_first_s=0.2, resend_max_s=0.2, settle_s=0.3))
    async with running(camera):
        await until(lambda: camera.status().ledger.sampled >= 60)
        ledger = camera.status().ledger
        assert 1 <= ledger.dropped[DropReason.UNAVAILABLE] <= 20
        assert ledger.dropped[DropReason.SUPERSEDED] > ledger.dropped[DropReason.UNAVAILABLE]
        assert camera.status().state is CameraState.LIVE
        assert sources.opened == 1
    await client.close()


async def test_a_server_killed_in_mid_call_leaves_one_frame_unconfirmed_and_is_found_again(
    service: Service, client: DetectClient
):
    async def hang(request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
        await asyncio.sleep(60)
        raise AssertionError

    service.answer = hang
    camera = camera_of(ScriptedSource(forever()), client)
    async with running(camera):
        await service.received.wait()
        await service.kill()
        await until(lambda: camera.status().ledger.unconfirmed == 1)
        await until(lambda: camera.status().ledger.dropped[DropReason.UNAVAILABLE] >= 2)
        assert camera.status().state is CameraState.LIVE
        service.answer = accept
        await service.start()
        await until(lambda: camera.status().ledger.accepted >= 2)
    assert camera.status().ledger.unconfirmed == 1


class StaleSource(ScriptedSource):
    """Its frames are a second old when they come."""

    def retrieve(self) -> RawFrame:
        fresh = super().retrieve().captured
        return RawFrame.of(grey(1), Capture(fresh.wall_ns - 10**9, fresh.monotonic - 1.0))


async def test_a_frame_out_of_time_is_dropped_before_it_costs_anything():
    sender = Sender()
    camera = camera_of(StaleSource(forever()), sender, budget_ms=200)
    async with running(camera):
        await until(lambda: camera.status().ledger.dropped[DropReason.DEADLINE] >= 3)
    assert sender.sent == []
