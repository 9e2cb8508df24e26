"""DetectionService: one ``Detect`` call from its bytes to its durable event, in plain asyncio.

The ingress deployment is a shell around this; the detector and the publisher are passed in.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from app.core.bearer import carries_token
from app.core.clock import Clock
from app.core.event import DetectedObject, DetectionEvent, StageLatencies, WeakDetection
from app.core.one_line import one_line
from app.core.wanted import DEFAULT_MODEL
from app.detection import ImageOutcome
from app.detection.detections import Detections
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo
from app.errors import (
    DeadlineExceeded,
    ModelUnavailable,
    RequestError,
    SightlineError,
    Unauthenticated,
)
from app.ingress.batch_size import BatchSizer
from app.ingress.batcher import DeadlineBatcher
from app.ingress.commit_router import CommitRouter, PublisherClient
from app.ingress.latency_reserve import LatencyReserve
from app.ingress.picture_requests import PictureRequests
from app.ingress.resequencer import Resequencer, Slot
from app.publisher import Receipt, Submission
from app.rpc.conversion import read_request
from app.rpc.request import DetectionRequest
from app.rpc.serving import UnreadableRequest
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.scaling import Demand, DemandMeter


class DetectorClient(Protocol):
    """The detector replicas, as one."""

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        """Run one batch on one replica.

        Raises:
            ModelUnavailable: no replica is there, or the one that had the batch died.
        """


class ServiceObserver(Protocol):
    """Receives what happens in the service, for its metrics."""

    def batch(self, size: int) -> None:
        """Record the size of a batch as it is handed to a detector."""

    def waiting(self, frames: int) -> None:
        """Record the number of frames that wait for a detector."""

    def answered(self, event: DetectionEvent) -> None:
        """Record an accepted frame."""


@dataclass(frozen=True)
class ServiceLimits:
    """What the service accepts; every number has its home in ``serve_config.yaml`` or in the settings."""

    max_batch_size: int = 16
    max_waiting: int = 256
    """Frames that may wait for a detector in one ingress replica."""
    batch_target_s: float = 0.05
    """Seconds that a batch should take at a detector; it gets fewer frames where they would take longer."""
    publish_batch_size: int = 64
    publish_calls: int = 1
    """Calls to one shard of the publisher under way at the same time."""
    max_event_age_s: float = math.inf
    """Seconds that a capture time may lie in the past (``kafka.max_event_age``)."""


@dataclass(frozen=True)
class ServiceLoad:
    """What waits and runs in the service."""

    frames_waiting: int
    """Frames that wait for a detector."""
    batches_running: int
    events_waiting: int
    """Events that wait for the publisher."""


@dataclass(frozen=True)
class Accepted:
    """A frame whose event is durable."""

    event: DetectionEvent
    total_ms: float
    """From capture, by the camera's clock, to this answer, by the service's; milliseconds."""


@dataclass(frozen=True)
class _Detected:
    outcome: ImageOutcome
    model: ModelInfo


class DetectionService:
    """Authenticates, checks, detects, publishes and answers."""

    def __init__(
        self,
        detector: DetectorClient,
        publishers: Sequence[PublisherClient],
        *,
        limits: ServiceLimits,
        observer: ServiceObserver,
        token: str | None = None,
        models: Collection[str] = (DEFAULT_MODEL,),
        anonymise: Collection[str] = (),
        clock: Clock | None = None,
    ) -> None:
        """Set up a service; it holds all frames back until :meth:`resize` says how many slots there are.

        ``publishers`` are the shards of the publisher, in the order of their numbers; ``models`` are the names by which
        requests may ask for the detector's model; ``anonymise`` are the labels that no stored picture may show.
        """
        self._detector = detector
        self._observer = observer
        self._token = token
        self._models = models
        self._clock = clock or Clock()
        self._max_age_s = limits.max_event_age_s
        self._ready = False
        self._demand = DemandMeter(limits.max_batch_size, self._clock.monotonic)
        self._commits: set[asyncio.Task[Receipt]] = set()
        self._pictures = PictureRequests(anonymise)
        self._resequencer = Resequencer()
        self._latency_reserve = LatencyReserve()
        self._sizer = BatchSizer(limits.max_batch_size, limits.batch_target_s)
        self._frames: DeadlineBatcher[DetectionRequest, _Detected] = DeadlineBatcher(
            self._detect, max_batch=limits.max_batch_size, max_waiting=limits.max_waiting, slots=0
        )
        self._events = CommitRouter(
            publishers,
            max_batch=limits.publish_batch_size,
            max_waiting=limits.max_waiting,
            calls=limits.publish_calls,
        )

    def resize(self, slots: int) -> None:
        """Set how many batches the detectors can take at the same time; 0: no replica is there."""
        self._ready = slots > 0
        self._frames.resize(slots)

    async def detect(self, message: pb.DetectRequest | UnreadableRequest, metadata: Mapping[str, str]) -> Accepted:
        """Process one request.

        Raises:
            SightlineError: any of the contract's table; see ``app/rpc/codes.py``.
        """
        self._authenticate(metadata)
        request = read_request(message, self._clock, self._max_age_s)
        self._check_model(request.wanted.model)
        if traceparent := metadata.get("traceparent"):
            request = replace(request, traceparent=traceparent)
        self._demand.offered(request.camera_id, request.epoch, request.sequence)
        if not self._ready:
            raise ModelUnavailable("no detector replica is there")
        slot = self._resequencer.enter(request.camera_id, request.epoch, request.sequence)
        try:
            detected = await self._detected(request)
            await self._resequencer.wait(slot, request.deadline - self._clock.monotonic())
            commit = self._begin_commit(request, detected, slot)
        except BaseException:
            self._resequencer.leave(slot)
            raise
        return await self._answer(request, *commit)

    @property
    def load(self) -> ServiceLoad:
        """What waits and runs now."""
        return ServiceLoad(self._frames.waiting, self._frames.running, self._events.waiting)

    @property
    def demand(self) -> Demand:
        """The frames that the cameras offer now."""
        return self._demand.reading()

    def report_waiting(self) -> None:
        """Report how many frames wait; called at intervals too: Ray drops a gauge that is not set for a while."""
        self._observer.waiting(self._frames.waiting)

    async def close(self) -> None:
        """Refuse what waits, and wait for what runs."""
        await self._frames.close(ModelUnavailable("the service is shutting down"))
        if self._commits:
            await asyncio.wait(self._commits)
        await self._events.close()

    def _authenticate(self, metadata: Mapping[str, str]) -> None:
        if self._token is not None and not carries_token(metadata.get("authorization", ""), self._token):
            raise Unauthenticated("this service asks for a bearer token, and the request has no valid one")

    def _check_model(self, name: str) -> None:
        if name not in self._models:
            raise RequestError(f"model {one_line(repr(name), 80)} is not served; there is {', '.join(self._models)}")

    async def _detected(self, request: DetectionRequest) -> _Detected:
        try:
            return await self._frames.submit(request, self._latest_start(request))
        except DeadlineExceeded:
            self._demand.expired()
            raise

    async def _detect(self, requests: Sequence[DetectionRequest]) -> Sequence[_Detected | SightlineError]:
        now = self._clock.monotonic()
        self._observer.batch(len(requests))
        self.report_waiting()
        jobs = [
            DetectorJob(request.image, self._latest_start(request) - now, request.traceparent, request.wanted)
            for request in requests
        ]
        answer = await self._detector.detect(jobs)
        # What expired at the detector is counted where its error is raised.
        ran = [
            request
            for request, outcome in zip(requests, answer.outcomes, strict=True)
            if not isinstance(outcome.error, DeadlineExceeded)
        ]
        for request in ran:
            self._demand.taken(now - request.arrived, request.deadline - request.arrived)
        # A request that asks for what the model has not costs it nothing.
        run = [outcome for outcome in answer.outcomes if not isinstance(outcome.error, DeadlineExceeded | RequestError)]
        if run:
            self._sizer.record(len(run), answer.busy_s)
            self._frames.limit(self._sizer.size)
        return [
            outcome.error if outcome.error is not None else _Detected(outcome, answer.model)
            for outcome in answer.outcomes
        ]

    def _latest_start(self, request: DetectionRequest) -> float:
        """Return the latest time, by the monotonic clock, at which the model may begin with a frame."""
        return request.deadline - self._latency_reserve.seconds_of(request.deadline - request.arrived)

    def _begin_commit(
        self, request: DetectionRequest, detected: _Detected, slot: Slot
    ) -> tuple[DetectionEvent, asyncio.Task[Receipt]]:
        """Hand the event over: the model has done its work, so the commit goes on, whatever the caller does."""
        elapsed_ms = (self._clock.monotonic() - request.arrived) * 1000
        event = _event(request, detected, elapsed_ms)
        submission = Submission(
            event,
            request.epoch,
            request.sequence,
            request.due_at_ns,
            weak=_weak(request, detected),
            tracked=request.wanted.tracked,
            picture=self._pictures.picture_of(request),
        )
        commit = asyncio.get_running_loop().create_task(self._events.commit(submission))
        self._commits.add(commit)
        commit.add_done_callback(self._settled)
        commit.add_done_callback(lambda _: self._resequencer.leave(slot))
        return event, commit

    async def _answer(
        self, request: DetectionRequest, event: DetectionEvent, commit: asyncio.Task[Receipt]
    ) -> Accepted:
        receipt = await asyncio.shield(commit)
        self._pictures.note(request.camera_id, receipt)
        self._latency_reserve.record(self._clock.monotonic() - request.arrived - event.latency.queue / 1000)
        self._observer.answered(event)
        total_ms = (self._clock.wall_ns() - request.captured_at_ns) / 1e6
        return Accepted(event.with_track_ids(receipt.track_ids), max(0.0, total_ms))

    def _settled(self, commit: asyncio.Task[Receipt]) -> None:
        self._commits.discard(commit)
        if not commit.cancelled():
            commit.exception()  # retrieved, or asyncio would log it where the caller is gone


def _event(request: DetectionRequest, detected: _Detected, elapsed_ms: float) -> DetectionEvent:
    outcome = detected.outcome
    transport_ms = (request.arrived_at_ns - request.captured_at_ns) / 1e6 - request.encode_ms
    return DetectionEvent(
        camera_id=request.camera_id,
        frame_id=request.frame_id,
        captured_at_ns=request.captured_at_ns,
        width=request.source_width,
        height=request.source_height,
        model=detected.model.name,
        objects=_objects(request, detected),
        truncated=outcome.detections is not None and outcome.detections.truncated,
        latency=StageLatencies(
            encode=request.encode_ms,
            transport=max(0.0, transport_ms),  # two clocks: it may come out below zero
            # Waiting, and the transfer to the replica and back: all that was neither decoding nor inference.
            queue=max(0.0, elapsed_ms - outcome.decode_ms - outcome.inference_ms),
            decode=outcome.decode_ms,
            inference=outcome.inference_ms,
        ),
    )


def _objects(request: DetectionRequest, detected: _Detected) -> tuple[DetectedObject, ...]:
    labels = detected.model.labels
    return tuple(
        DetectedObject(labels.get(class_id, f"class{class_id}"), class_id, confidence, bbox)
        for class_id, confidence, bbox in _scaled(request, detected.outcome, detected.outcome.detections)
    )


def _weak(request: DetectionRequest, detected: _Detected) -> tuple[WeakDetection, ...]:
    found = detected.outcome.detections
    weak = None if found is None else found.weak
    return tuple(WeakDetection(*one) for one in _scaled(request, detected.outcome, weak))


def _scaled(
    request: DetectionRequest, outcome: ImageOutcome, found: Detections | None
) -> Iterator[tuple[int, float, tuple[float, float, float, float]]]:
    """Yield class, score and box (x, y, width, height), scaled from the image sent to the frame captured."""
    if found is None or not len(found):
        return
    scale = np.array([request.source_width / outcome.width, request.source_height / outcome.height] * 2)
    limit = np.array([request.source_width, request.source_height] * 2)
    boxes = np.clip(found.boxes * scale, 0, limit)
    for (x1, y1, x2, y2), score, class_id in zip(
        boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
    ):
        # A head without NMS may swap the corners of a box.
        yield class_id, score, (x1, y1, max(0.0, x2 - x1), max(0.0, y2 - y1))
