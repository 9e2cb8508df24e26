"""DetectionService: one ``Detect`` call from its bytes to its durable event, in plain asyncio.

The ingress deployment is a shell around this; the detector and the publisher are passed in.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from app.core.bearer import carries_token
from app.core.clock import Clock
from app.core.event import DetectionEvent
from app.core.one_line import one_line
from app.core.wanted import DEFAULT_MODEL
from app.detection.messages import DetectorAnswer, DetectorJob
from app.errors import (
    DeadlineExceeded,
    ModelUnavailable,
    Overloaded,
    RequestError,
    SightlineError,
    Unauthenticated,
)
from app.ingress.batch_size import BatchSizer
from app.ingress.batcher import DeadlineBatcher
from app.ingress.commit_router import CommitRouter, PublisherClient
from app.ingress.detected import Detected
from app.ingress.gathering import Gathering
from app.ingress.latency_reserve import LatencyReserve
from app.ingress.picture_requests import PictureRequests
from app.ingress.resequencer import Resequencer, Slot
from app.ingress.send_rate import SendRate
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
    max_fps: float
    """How often its camera may send now, frames per second."""


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
        self._commits: set[asyncio.Future[Receipt]] = set()
        self._pictures = PictureRequests(anonymise)
        self._resequencer = Resequencer()
        self._latency_reserve = LatencyReserve()
        self._send_rate = SendRate(self._clock.monotonic)
        self._sizer = BatchSizer(limits.max_batch_size, limits.batch_target_s)
        self._gathering = Gathering(self._clock.monotonic)
        self._frames: DeadlineBatcher[DetectionRequest, Detected] = DeadlineBatcher(
            self._detect,
            max_batch=limits.max_batch_size,
            max_waiting=limits.max_waiting,
            slots=0,
            gather_s=self._gathering.seconds,
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
        self._gathering.arrived(request.deadline - request.arrived)
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
    def max_fps(self) -> float:
        """How often each camera may send now, frames per second."""
        return self._send_rate.fps

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

    async def _detected(self, request: DetectionRequest) -> Detected:
        try:
            return await self._frames.submit(request, self._latest_start(request))
        except (DeadlineExceeded, Overloaded) as error:
            if isinstance(error, DeadlineExceeded):
                self._demand.expired()
            self._send_rate.lost()
            raise

    async def _detect(self, requests: Sequence[DetectionRequest]) -> Sequence[Detected | SightlineError]:
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
            outcome.error if outcome.error is not None else Detected(outcome, answer.model)
            for outcome in answer.outcomes
        ]

    def _latest_start(self, request: DetectionRequest) -> float:
        """Return the latest time, by the monotonic clock, at which the model may begin with a frame."""
        return request.deadline - self._latency_reserve.seconds_of(request.deadline - request.arrived)

    def _begin_commit(
        self, request: DetectionRequest, detected: Detected, slot: Slot
    ) -> tuple[DetectionEvent, asyncio.Future[Receipt]]:
        """Hand the event over: the model has done its work, so the commit goes on, whatever the caller does."""
        elapsed_ms = (self._clock.monotonic() - request.arrived) * 1000
        event = detected.event(request, elapsed_ms)
        submission = Submission(
            event,
            request.epoch,
            request.sequence,
            request.due_at_ns,
            weak=detected.weak(request),
            tracked=request.wanted.tracked,
            picture=self._pictures.picture_of(request),
        )
        commit = self._events.commit(submission)
        self._commits.add(commit)
        commit.add_done_callback(functools.partial(self._settled, slot))
        return event, commit

    async def _answer(
        self, request: DetectionRequest, event: DetectionEvent, commit: asyncio.Future[Receipt]
    ) -> Accepted:
        receipt = await asyncio.shield(commit)
        self._pictures.note(request.camera_id, receipt)
        elapsed_s, latency = self._clock.monotonic() - request.arrived, event.latency
        self._latency_reserve.record(elapsed_s - latency.queue / 1000)
        work_s = (latency.decode + latency.inference) / 1000
        self._send_rate.answered(request.camera_id, elapsed_s, work_s, request.deadline - request.arrived)
        self._observer.answered(event)
        total_ms = (self._clock.wall_ns() - request.captured_at_ns) / 1e6
        return Accepted(event.with_track_ids(receipt.track_ids), max(0.0, total_ms), self._send_rate.fps)

    def _settled(self, slot: Slot, commit: asyncio.Future[Receipt]) -> None:
        self._commits.discard(commit)
        self._resequencer.leave(slot)
        if not commit.cancelled():
            commit.exception()  # retrieved, or asyncio would log it where the caller is gone
