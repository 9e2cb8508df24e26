"""Ids of tracks where processes die and frames come back in any order: the same object, the same id, and none twice.

The publisher's process is a fork that is killed between and within its transactions. Detector and ingress are plain
objects here: the death of one is an error for the batches it had, or the loss of all frames under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from app.core.clock import Clock
from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.detection import ImageOutcome
from app.detection.detections import Detections
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo
from app.errors import ModelUnavailable, SightlineError
from app.ingress.service import DetectionService, ServiceLimits
from app.publisher import EventPublisher, Receipt, Spool, SpoolOptions, SpoolWriter, Submission
from app.publisher.analysis import FrameAnalysis
from app.publisher.spool.analysis import JudgedFrame
from app.publisher.spool.codec import load
from app.publisher.spool.rows import Arrival
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.tracking import TrackingSettings
from tests.support.detection_service import Observer
from tests.support.publisher import RecordingObserver

DEATHS = 20
FRAMES = 140
"""Of each camera, through the service."""
START_S = 1_700_000_000
FPS = 5
LANES, SPEED, LENGTH = 4, 120.0, 1200.0
"""Cars of a lane follow each other, so that the picture always has one of each: pixels a second, and pixels."""
LOST_AFTER_S = TrackingSettings().lost_after


def car_of(lane: int, seconds: float) -> int:
    """Return which car is in a lane at a time."""
    return int((seconds * SPEED + lane * 170) // LENGTH)


def box_of(lane: int, seconds: float) -> tuple[float, float, float, float]:
    return (seconds * SPEED + lane * 170) % LENGTH, 60.0 + 150 * lane, 110.0, 60.0


def event_of(number: int) -> DetectionEvent:
    seconds = number / FPS
    cars = tuple(DetectedObject("car", 2, 0.9, box_of(lane, seconds)) for lane in range(LANES))
    at_ns = START_S * 10**9 + number * 10**9 // FPS
    return DetectionEvent("cam", f"{number}", at_ns, 1280, 720, "m.pt", cars, StageLatencies(1, 1, 1, 1, 1))


def be_the_publisher(folder: Path, numbers: Sequence[int], life: int, seed: int, committed: Connection) -> None:
    """Commit frames in groups of any size, and report each that is durable, until the end comes."""
    chance = random.Random(seed)
    spool, left = Spool(SpoolOptions(folder), FrameAnalysis(TrackingSettings())), list(numbers)
    while left:
        group, left = left[: chance.randint(1, 4)], left[4:]  # the rest are frames that were dropped
        spool.commit([Arrival(f"{n}", "cam", life, n + 1, b"", n, JudgedFrame(event_of(n))) for n in group])
        committed.send(group[-1])


@dataclass
class Seen:
    """What the ids of a camera's committed frames say."""

    cars: defaultdict[int, set[tuple[int, int]]] = field(default_factory=lambda: defaultdict(set))
    """Lane and car of each id."""
    kept: int = 0
    """Cars with an id that have the same one in the next committed frame, after a gap no longer than ``lost_after``."""
    changed: int = 0

    @classmethod
    def of(cls, events: Sequence[DetectionEvent]) -> Seen:
        """Compare each frame with the one before."""
        seen, before, last = cls(), dict[tuple[int, int], int | None](), 0.0
        for event in events:
            seconds = event.captured_at_ns / 1e9 - START_S
            now = {(lane, car_of(lane, seconds)): one.track_id for lane, one in enumerate(event.objects)}
            for car, track_id in now.items():
                if track_id is not None:
                    seen.cars[track_id].add(car)
                earlier = before.get(car)
                if earlier is not None and seconds - last <= LOST_AFTER_S:
                    seen.kept += track_id == earlier
                    seen.changed += track_id != earlier
            before, last = now, seconds
        return seen


def test_a_publisher_that_is_killed_under_load_keeps_the_ids_and_gives_none_twice(tmp_path: Path):
    chance, fork = random.Random(21), multiprocessing.get_context("fork")
    following = 0
    for life in range(1, DEATHS + 2):
        ours, theirs = fork.Pipe(duplex=False)
        numbers = range(following, following + 400)
        process = fork.Process(target=be_the_publisher, args=(tmp_path, numbers, life, life, theirs), daemon=True)
        process.start()
        theirs.close()
        for _ in range(chance.randint(1, 6)):
            assert ours.poll(60)
            following = ours.recv()
        process.kill()
        process.join()
        with contextlib.suppress(EOFError):
            while ours.poll():
                following = ours.recv()
        ours.close()
        following += chance.randint(3, 7)  # a gap of 0.6 to 1.4 s; beyond all that may have been committed unreported
        with closing(Spool(SpoolOptions(tmp_path))) as spool:
            last = max(int(row.event_id) for row in spool.waiting("cam", 0, 100_000))
        following = max(following, last + 1)
    with closing(Spool(SpoolOptions(tmp_path))) as spool:
        events = [load(row.body)[0] for row in spool.waiting("cam", 0, 100_000)]
    seen = Seen.of(events)
    assert [cars for cars in seen.cars.values() if len(cars) > 1] == []
    assert seen.kept + seen.changed > 50 * LANES / 4
    assert seen.kept >= 0.95 * (seen.kept + seen.changed)


# Detector and ingress.


def image_of(number: int) -> bytes:
    """Return a picture that says which frame it is: its gray is lost on nobody."""
    return cv2.imencode(".png", np.full((72, 128, 3), number % 251, np.uint8))[1].tobytes()


class Replicas:
    """Detectors that answer after any time and in any order; some batches die with their replica."""

    def __init__(self, seed: int, deaths: int) -> None:
        self.died = 0
        self._chance = random.Random(seed)
        self._deaths = deaths

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        for _ in range(self._chance.randrange(12)):
            await asyncio.sleep(0)
        if self.died < self._deaths and self._chance.random() < 0.2:
            self.died += 1
            raise ModelUnavailable("the replica died")
        return DetectorAnswer(tuple(self._outcome(job) for job in jobs), ModelInfo("m.pt", {2: "car"}, "cpu"))

    def _outcome(self, job: DetectorJob) -> ImageOutcome:
        number = int(cv2.imdecode(np.frombuffer(job.image, np.uint8), cv2.IMREAD_COLOR)[0, 0, 0])
        corners = [(x / 10, y / 10, (x + w) / 10, (y + h) / 10) for x, y, w, h in
                   (box_of(lane, number / FPS) for lane in range(LANES))]  # fmt: skip
        boxes = np.array(corners, np.float32)
        found = Detections(boxes, np.full(LANES, 0.9, np.float32), np.full(LANES, 2, np.int64))
        return ImageOutcome(found, None, 128, 72, 1.0, 1.0)


class Here:
    """The publisher, in this process."""

    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher = publisher
        self.events: list[Submission] = []
        self.receipts: list[Receipt] = []

    async def publish(self, submissions: Sequence[Submission]) -> list[Receipt | SightlineError]:
        found = await asyncio.gather(*(self._publisher.publish(one) for one in submissions), return_exceptions=True)
        answers: list[Receipt | SightlineError] = []
        for submission, one in zip(submissions, found, strict=True):
            assert isinstance(one, (Receipt, SightlineError))
            answers.append(one)
            if isinstance(one, Receipt):
                self.events.append(submission)
                self.receipts.append(one)
        return answers


class Stepping(Clock):
    """A wall clock of the scene's time."""

    def wall_ns(self) -> int:
        return (START_S + 60) * 10**9


def request_of(camera: str, number: int) -> pb.DetectRequest:
    nanos = START_S * 10**9 + number * 10**9 // FPS
    return pb.DetectRequest(
        camera_id=camera, frame_id=f"{number}", image=image_of(number), epoch=1, sequence=number + 1,
        captured_at=Timestamp(seconds=nanos // 10**9, nanos=nanos % 10**9), source_width=1280, source_height=720,
    )  # fmt: skip


async def load_the_service(folder: Path, replicas: Replicas, slots: int, ingress_deaths: int = 0) -> Here:
    """Send frames of three cameras, some at a time; return what was committed."""
    writer = SpoolWriter(lambda: Spool(SpoolOptions(folder), FrameAnalysis(TrackingSettings())))
    publisher = EventPublisher(None, writer, budget_ms=200, observer=RecordingObserver())
    publisher.start()
    here, chance = Here(publisher), random.Random(slots)

    def ingress() -> DetectionService:
        made = DetectionService(
            replicas, [here], limits=ServiceLimits(max_batch_size=3), observer=Observer(), clock=Stepping()
        )
        made.resize(slots)
        return made

    service, calls = ingress(), list[asyncio.Task[object]]()
    for number in range(FRAMES):
        fresh = [asyncio.create_task(service.detect(request_of(camera, number), {})) for camera in ("a", "b", "c")]
        calls += fresh
        if ingress_deaths and number % (FRAMES // ingress_deaths) == 5:
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()  # all frames under way die with it, wherever they are
            service = ingress()
        elif chance.random() < 0.5:
            await asyncio.wait(calls)
    await asyncio.gather(*calls, return_exceptions=True)
    await service.close()
    await publisher.close()
    return here


def check(here: Here) -> None:
    """Compare the ids with those that the committed frames give by themselves, camera by camera, in their order."""
    assert len(here.events) > FRAMES
    for camera in ("a", "b", "c"):
        analysis = FrameAnalysis(TrackingSettings())
        states, events = analysis.load(camera, {}), []
        pairs = [pair for pair in zip(here.events, here.receipts, strict=True) if pair[0].event.camera_id == camera]
        assert [one.sequence for one, _ in pairs] == sorted(one.sequence for one, _ in pairs)
        for submission, receipt in pairs:
            states, analysed = analysis.analyse(states, JudgedFrame(submission.event, submission.weak))
            assert receipt.track_ids == tuple(one.track_id for one in analysed.event.objects)
            events.append(analysed.event)
        seen = Seen.of(events)
        assert [cars for cars in seen.cars.values() if len(cars) > 1] == []
        assert seen.kept >= 0.95 * (seen.kept + seen.changed)


@pytest.mark.parametrize("slots", [1, 4])
async def test_ids_are_those_of_the_committed_frames_whichever_replica_had_them(tmp_path: Path, slots: int):
    check(await load_the_service(tmp_path, Replicas(seed=slots, deaths=0), slots))


async def test_detectors_that_die_under_load_cost_frames_and_no_ids(tmp_path: Path):
    replicas = Replicas(seed=3, deaths=DEATHS)
    check(await load_the_service(tmp_path, replicas, slots=4))
    assert replicas.died == DEATHS


async def test_an_ingress_that_dies_under_load_costs_frames_and_no_ids(tmp_path: Path):
    check(await load_the_service(tmp_path, Replicas(seed=4, deaths=0), slots=4, ingress_deaths=DEATHS))
