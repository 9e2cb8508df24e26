"""A machine whose clock was wrong and is corrected: real camera, gRPC, checks, publisher and spool."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from app.cameras import edge
from app.cameras.epochs import Epochs
from app.cameras.status import CameraStatus
from app.cameras.telemetry import CameraTelemetry
from app.core.clock import Clock
from app.detection import ImageOutcome
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo
from app.errors import DeliveryUnavailable, SightlineError
from app.ingress.service import DetectionService, ServiceLimits
from app.publisher import EventPublisher, Receipt, Spool, SpoolOptions, SpoolWriter, Submission
from app.rpc.codes import metadata_of, status_of
from app.rpc.conversion import write_response
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.loading import load_settings
from app.telemetry.prometheus_page import PageMeter
from tests.support.cameras import Service
from tests.support.detection_service import Observer
from tests.support.publisher import RecordingObserver, Topic
from tests.support.rows import Rows
from tests.support.waiting import until

EIGHT_HOURS = 8 * 3600.0
LIMIT_S = 10.0
"""How long a corrected clock may have frames refused."""
ACCEPTED = f"frames are accepted in order within {LIMIT_S:.0f} s"


class Machine:
    """A wall clock that can be wrong; cameras and service are on the one machine, and step together."""

    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s

    def wall_ns(self) -> int:
        return time.time_ns() + int(self.ahead_s * 1e9)

    @property
    def clock(self) -> Clock:
        return Clock(wall_ns=self.wall_ns)


class Detector:
    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        nothing = ImageOutcome(None, None, 320, 180, 1.0, 1.0)
        return DetectorAnswer((nothing,) * len(jobs), ModelInfo("m.pt", {}, "cpu"))


class Direct:
    """The publisher, called without a process between."""

    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher = publisher

    async def publish(self, submissions: Sequence[Submission]) -> Sequence[Receipt | SightlineError]:
        answers = await asyncio.gather(*map(self._publisher.publish, submissions), return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, Receipt | SightlineError)]


class System:
    """What serves: from the request to the spool on the disk, and what came to the topic."""

    def __init__(self, machine: Machine, service: DetectionService, topic: Topic, port: int) -> None:
        self.machine, self.topic, self.port = machine, topic, port
        self._service = service

    async def answer(self, request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
        try:
            accepted = await self._service.detect(request, {})
        except SightlineError as error:
            code, details = status_of(error)
            context.set_trailing_metadata(tuple(metadata_of(error)))
            await context.abort(code, details)
            raise AssertionError("abort raises") from None
        return write_response(accepted.event, accepted.total_ms)

    @property
    def replayed(self) -> list[bool]:
        return [json.loads(record.value)["replayed"] for record in self.topic.records]


@asynccontextmanager
async def system(folder: Path, machine: Machine) -> AsyncIterator[System]:
    """Serve; the spool stays for the next one."""
    topic = Topic()
    writer = SpoolWriter(lambda: Spool(SpoolOptions(folder)))
    publisher = EventPublisher(topic, writer, budget_ms=5000, observer=RecordingObserver(), wall_ns=machine.wall_ns)
    publisher.start()
    service = DetectionService(
        Detector(), [Direct(publisher)], limits=ServiceLimits(), observer=Observer(), clock=machine.clock
    )
    service.resize(1)
    server = Service()
    await server.start()
    it = System(machine, service, topic, server.port)
    server.answer = it.answer
    try:
        yield it
    finally:
        await server.kill()
        await service.close()
        await publisher.close()


@asynccontextmanager
async def camera(it: System, epochs: Epochs | None = None) -> AsyncIterator[asyncio.Task[CameraStatus]]:
    """Run ``sightline camera`` on the machine; by default it remembers no epoch of an earlier life."""
    settings = load_settings(
        {"INFERENCE_SERVICE_URL": f"127.0.0.1:{it.port}", "SIGHTLINE_LATENCY_BUDGET_MS": "5000"},
        camera={"id": "gate-1", "url": "synthetic://street?seed=7&fps=25&width=320&height=180", "fps": "20"},
    )
    stop, observer = asyncio.Event(), CameraTelemetry("gate-1", PageMeter())
    epochs = epochs or Epochs(wall_ns=it.machine.wall_ns)
    clock = it.machine.clock
    running = asyncio.create_task(edge.watch(settings, observer=observer, epochs=epochs, stop=stop, clock=clock))
    try:
        yield running
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)


async def more(it: System, count: int = 5) -> None:
    """Wait until further events came, as soon as a corrected clock allows."""
    wanted = len(it.topic.records) + count
    await until(lambda: len(it.topic.records) >= wanted, timeout_s=LIMIT_S)


def numbers(it: System) -> list[int]:
    """The frames on the topic, as their camera counted them."""
    return [int(frame.split("-")[1]) for frame in it.topic.frames]


@pytest.mark.parametrize("wrong_s", [EIGHT_HOURS, 3.0, -EIGHT_HOURS], ids=["8 h ahead", "3 s ahead", "8 h behind"])
async def test_a_clock_that_is_corrected_while_all_runs_stops_no_camera(tmp_path: Path, wrong_s: float, rows: Rows):
    async with system(tmp_path, Machine(wrong_s)) as it, camera(it):
        await more(it)
        it.machine.ahead_s = 0.0
        await more(it)
        assert numbers(it) == sorted(set(numbers(it)))
        assert not any(it.replayed)
    rows.add("clock", "8 h or 3 s ahead, or 8 h behind, corrected while all runs", ACCEPTED)


@pytest.mark.parametrize("wrong_s", [EIGHT_HOURS, 3.0, -EIGHT_HOURS], ids=["8 h ahead", "3 s ahead", "8 h behind"])
async def test_a_clock_that_is_corrected_while_all_is_down_stops_no_camera(tmp_path: Path, wrong_s: float, rows: Rows):
    machine = Machine(wrong_s)
    async with system(tmp_path, machine) as before, camera(before):
        await more(before)
    machine.ahead_s = 0.0
    async with system(tmp_path, machine) as it:
        async with camera(it) as running:
            await more(it)
        assert numbers(it) == sorted(set(numbers(it)))
        assert not any(it.replayed)
        assert running.result().ledger.balanced
    rows.add("clock", "the same, corrected while all is down", ACCEPTED)


async def test_a_camera_is_started_again_before_its_service_and_after_it_while_the_clock_is_set_back(tmp_path: Path):
    machine = Machine(EIGHT_HOURS)
    async with system(tmp_path, machine) as it:
        async with camera(it):
            await more(it)
        machine.ahead_s = 0.0
        for _ in range(2):
            async with camera(it):
                await more(it)
    async with system(tmp_path, machine) as it, camera(it):
        await more(it)


async def test_events_after_an_outage_and_a_step_back_are_not_marked_as_replayed(tmp_path: Path, rows: Rows):
    async with system(tmp_path, Machine(EIGHT_HOURS)) as it, camera(it):
        it.topic.error = DeliveryUnavailable("away")
        await until(lambda: it.topic.tries >= 2)
        it.topic.error = None
        await more(it)
        assert it.replayed[0]
        it.machine.ahead_s = 0.0
        since = len(it.topic.records)
        await more(it, 20)
        assert not any(it.replayed[since + 10 :])
    rows.add("clock", "8 h ahead, an outage of the broker, then corrected", "new events are not marked `replayed`")


async def test_a_camera_yields_to_its_successor_however_long_it_goes_on(tmp_path: Path):
    machine = Machine(0.0)
    async with system(tmp_path, machine) as it, camera(it) as older:
        await more(it)
        async with camera(it):
            await more(it, 30)
        lives = [frame.split("-")[0] for frame in it.topic.frames]
        assert lives == sorted(lives), "once the successor had come, no frame of the older one was accepted"
        assert len(set(lives)) == 2
        assert not older.done()
