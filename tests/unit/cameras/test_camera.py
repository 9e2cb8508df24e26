from __future__ import annotations

import asyncio
import itertools
import logging
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest

from app.cameras import Camera, CameraState, DetectClient, open_source
from app.cameras.accounts import NullObserver
from app.cameras.camera import CameraTiming
from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.cameras.sources import Capture, RawFrame
from app.core.clock import Clock
from app.errors import SourceUnavailable
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.cameras import CameraSettings
from app.settings.service_address import ServiceAddress
from app.simulation.spec import StreetSpec
from app.simulation.street import Street
from tests.support.cameras import (
    QUICK,
    ScriptedSource,
    Service,
    Sources,
    abort_with,
    accept,
    camera_of,
    grey,
    running,
    settings,
    until,
    write_video,
)


class Observer(NullObserver):
    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.flying: list[int] = []
        self.ups: list[bool] = []

    def sampled(self) -> None:
        self.counted["sampled"] += 1

    def accepted(self) -> None:
        self.counted["accepted"] += 1

    def dropped(self, reason: DropReason) -> None:
        self.counted[reason.value] += 1

    def in_flight(self, frames: int) -> None:
        self.flying.append(frames)

    def up(self, live: bool) -> None:
        self.ups.append(live)

    def reconnected(self) -> None:
        self.counted["reconnected"] += 1


def forever(level: int = 100, frames: int = 10_000) -> list[int | Exception]:
    return [level] * frames


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


class Sender:
    """A service within the process, where the wire does not matter."""

    def __init__(self, answer: Callable[[EncodedFrame, float], Awaitable[Outcome]] | None = None) -> None:
        self.sent: list[EncodedFrame] = []
        self._answer = answer

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        self.sent.append(frame)
        return await self._answer(frame, remaining_s) if self._answer else Outcome.accepted(pb.DetectResponse())


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


async def test_frames_nobody_samples_are_never_retrieved():
    source = ScriptedSource(forever(), every_s=0.005)  # 200 frames a second, of which every fourth is asked for
    camera = camera_of(source, Sender())
    async with running(camera):
        await until(lambda: camera.status().ledger.sampled >= 10)
    assert source.retrieved == list(range(0, 4 * len(source.retrieved), 4))


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


async def test_a_camera_stopped_before_it_runs_does_not_run():
    sources = Sources(ScriptedSource(forever()))
    camera = camera_of(sources, Sender())
    await camera.stop()
    await camera.run()
    assert sources.opened == 0


def changes(ups: list[bool]) -> list[bool]:
    """Return the changes, from the first time up: the gauge is set again and again."""
    return [up for up, _ in itertools.groupby(itertools.dropwhile(lambda up: not up, ups))]


async def test_its_gauges_are_set_again_though_nothing_changes():
    observer = Observer()
    async with running(camera_of(Sources(ScriptedSource([1])), Sender(), observer=observer)):
        await until(lambda: sum(observer.ups) >= 4)
    assert changes(observer.ups) == [True]


async def test_a_source_that_fails_is_opened_again_and_frame_ids_go_on():
    sources = Sources(ScriptedSource([1, 2, 3, SourceUnavailable("the camera hung up")]), ScriptedSource(forever()))
    sender, observer = Sender(), Observer()
    camera = camera_of(sources, sender, observer=observer)
    async with running(camera):
        await until(lambda: camera.status().ledger.accepted >= 6)
        assert camera.status().reconnects == 1
    ids = [frame.frame_id for frame in sender.sent]
    assert len(ids) == len(set(ids))
    assert "7-3" in ids or "7-4" in ids
    assert [source.closed for source in sources.sources] == [1, 1]
    assert changes(observer.ups)[:3] == [True, False, True]
    assert observer.counted["reconnected"] == 1


async def test_a_source_that_stays_away_is_offline_with_its_reason():
    sources = Sources(ScriptedSource([SourceUnavailable("connection refused")]))
    camera = camera_of(sources, Sender())
    async with running(camera):
        await until(lambda: camera.status().state is CameraState.OFFLINE)
        first = camera.status()
        assert first.reason == "connection refused"
        await until(lambda: sources.opened >= 6)
        assert camera.status().since == first.since
        sources.sources.append(ScriptedSource(forever()))
        sources.opened = 10
        await until(lambda: camera.status().state is CameraState.LIVE)


async def test_the_log_of_a_camera_tried_again_and_again_is_two_lines_of_it(caplog: pytest.LogCaptureFixture):
    sources = Sources(ScriptedSource([SourceUnavailable("connection refused")]))
    camera = camera_of(sources, Sender())
    with caplog.at_level(logging.INFO):
        async with running(camera):
            await until(lambda: sources.opened >= 6)
            sources.sources.append(ScriptedSource(forever()))
            sources.opened = 10
            await until(lambda: camera.status().ledger.accepted >= 1)
    away, live = (record for record in caplog.records if record.name == "app.cameras.source_health")
    assert away.getMessage() == "camera gate unreachable: connection refused"
    assert live.getMessage().startswith("camera gate is live again after ")
    assert {vars(away)["camera_id"], vars(live)["camera_id"]} == {"gate"}


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


async def test_a_silent_live_source_is_stalled_and_opened_again(caplog: pytest.LogCaptureFixture):
    seen: list[CameraState] = []
    sources = Sources(ScriptedSource([1, 2]), ScriptedSource(forever()))
    camera = camera_of(sources, Sender(), timing=replace(QUICK, stall_s=1.0, reopen_first_s=0.5, reopen_max_s=0.5))

    def look() -> bool:
        seen.append(camera.status().state)
        return camera.status().ledger.accepted >= 5

    with caplog.at_level(logging.WARNING):
        async with running(camera):
            await until(look)
    assert "camera gate unreachable: no frame for 1 s" in caplog.text
    assert sources.opened == 2
    assert CameraState.RECONNECTING in seen
    assert sources.sources[0].closed == 1


async def test_a_foreign_fault_in_a_source_shows_its_type_and_no_secret(caplog: pytest.LogCaptureFixture):
    failing = [ScriptedSource([1, ValueError("rtsp://viewer:hunter2@gate")]) for _ in range(1000)]
    sources = Sources(*failing)
    camera = camera_of(sources, Sender())
    async with running(camera):
        await until(lambda: camera.status().reason == "the source failed with ValueError")
        sources.sources[sources.opened :] = [ScriptedSource(forever())]
        accepted = camera.status().ledger.accepted
        await until(lambda: camera.status().ledger.accepted >= accepted + 3)
    assert "hunter2" not in caplog.text + repr(camera.status())


async def test_a_recording_that_does_not_loop_ends_with_its_last_frame_settled(
    tmp_path: Path, service: Service, client: DetectClient
):
    file = write_video(tmp_path / "v.mp4", [n * 40 for n in range(11)], [grey(100)] * 11)
    camera = Camera(settings(f"{file}?loop=false", fps=5), client=client, epoch=1, budget_ms=2000)
    await asyncio.wait_for(camera.run(), 20)
    status = camera.status()
    assert status.state is CameraState.ENDED
    assert (status.ledger.sampled, status.ledger.accepted, status.ledger.in_flight) == (3, 3, 0)
    assert [request.frame_id for request in service.requests] == ["1-0", "1-5", "1-10"]
    await camera.stop()


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


def test_a_camera_needs_its_rate():
    bare = CameraSettings.model_validate({"id": "gate", "url": "synthetic://street"})
    with pytest.raises(ValueError, match="fps"):
        Camera(bare, client=Sender(), epoch=1, budget_ms=200, source_factory=open_source)


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
