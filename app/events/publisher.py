"""EventPublisher: the one place that commits events: once each, in each camera's order, and accounted for.

Order: a camera that numbers its frames (epoch > 0) has its events committed in rising (epoch, sequence). A number is
reserved when its event is handed over, and free again when delivery fails; so nothing later can be overtaken by
something earlier, and what arrives after its turn is refused. The price: a frame is also refused for a later one that
is under way and then fails; frames are dropped rather than held back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from app.errors import DeliveryRefused, DeliveryUnavailable, EpochSuperseded, FrameRepeated
from app.events.event import DetectionEvent, EventRecord, make_record

logger = logging.getLogger(__name__)

REPEAT_WINDOW_S = 600.0
"""How long an acknowledged id is remembered (contract, section 4)."""
MAX_REMEMBERED = 200_000
"""Ids remembered at most; at 300 events a second that is the whole window."""
MAX_IN_FLIGHT = 1_000
"""Events committed at the same time; more are refused."""
CAMERA_IDLE_S = 3_600.0
"""A camera of which nothing came for so long is forgotten, with its order and its count."""
MAX_CAMERAS = 20_000
"""Cameras remembered at most; beyond, the one longest idle is forgotten."""
LATENCY_WINDOW = 2_000
"""Events over which the quantiles are taken."""


class Sink(Protocol):
    """Where records go."""

    async def send(self, record: EventRecord) -> object:
        """Return when the record is durable.

        Raises:
            DeliveryError: it is not.
        """


class PublishObserver(Protocol):
    """Who wants to know of each acknowledged event."""

    def published(self, camera_id: str, total_s: float, publish_s: float, breach: bool) -> None:
        """Told after each acknowledgement: seconds from capture and from hand-over, and whether over budget."""


@dataclass(frozen=True)
class Submission:
    """An event to be committed."""

    event: DetectionEvent
    epoch: int = 0
    """One life of its camera, rising; 0: no order is asked."""
    sequence: int = 0
    """Rising within an epoch."""


@dataclass(frozen=True)
class Receipt:
    """The event is durable."""

    event_id: str
    repeated: bool = False
    """It had been committed before, and was not published again."""


@dataclass(frozen=True)
class LatencyQuantiles:
    """Capture to acknowledgement over the last events, in milliseconds."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class PublisherSnapshot:
    """One consistent reading; ``accepted = published + discarded`` always holds."""

    accepted: int
    """Events answered with a receipt."""
    published: int
    """Events that the topic has."""
    discarded: int
    """Events that are not to be published: empty ones, or all while Kafka is off."""
    in_flight: int
    """Events handed over and not acknowledged."""
    refused: int
    """Events that Kafka refused for good."""
    failed: int
    """Deliveries that failed; the same event may have succeeded later."""
    out_of_order: int
    repeated: int
    breaches: int
    """Events acknowledged later than the budget."""
    by_camera: Mapping[str, int]
    """Events published, by camera; one idle for an hour is left out."""
    latency: LatencyQuantiles | None
    """None before the first event."""
    trouble: str = ""
    """Why events cannot be delivered now; empty while they can."""


@dataclass
class _Lane:
    """One camera's order."""

    committed: tuple[int, int] = (0, 0)
    handed_over: list[tuple[int, int]] = field(default_factory=list)
    published: int = 0
    used_at: float = 0.0

    @property
    def last(self) -> tuple[int, int]:
        return max([self.committed, *self.handed_over])


class EventPublisher:
    """Commits events to a sink; plain asyncio, to be used from one event loop."""

    def __init__(
        self,
        sink: Sink | None,
        *,
        budget_ms: float,
        observer: PublishObserver,
        publish_empty: bool = True,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire a publisher.

        Args:
            sink: where records go; none: Kafka is off, events are accepted and discarded.
            budget_ms: from capture to acknowledgement; later is a breach.
            observer: told of each acknowledged event.
            publish_empty: whether events without objects are published.
            wall_ns: nanoseconds since 1970 UTC.
            monotonic: seconds.
        """
        self._sink = sink
        self._budget_ms = budget_ms
        self._observer = observer
        self._publish_empty = publish_empty
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[Receipt]] = {}
        self._known: OrderedDict[str, float] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=LATENCY_WINDOW)

    async def publish(self, submission: Submission) -> Receipt:
        """Commit an event; from the hand-over on it is carried through, whoever stops waiting.

        Raises:
            FrameRepeated: its sequence is at or below one already committed or under way in its epoch.
            EpochSuperseded: a newer epoch of its camera has committed.
            DeliveryUnavailable: it cannot be made durable now; the same event may be submitted again.
            DeliveryRefused: Kafka refuses it for good.
        """
        event_id = submission.event.event_id
        self._forget_old()
        if event_id in self._known:
            self._counts["repeated"] += 1
            return Receipt(event_id, repeated=True)
        task = self._under_way.get(event_id)
        if task is None:
            task = self._begin(submission, event_id)
        return await asyncio.shield(task)

    def snapshot(self, trouble: str = "") -> PublisherSnapshot:
        """Read all accounts at one instant."""
        counts = self._counts
        return PublisherSnapshot(
            accepted=counts["published"] + counts["discarded"],
            published=counts["published"],
            discarded=counts["discarded"],
            in_flight=len(self._under_way),
            refused=counts["refused"],
            failed=counts["failed"],
            out_of_order=counts["out_of_order"],
            repeated=counts["repeated"],
            breaches=counts["breaches"],
            by_camera={camera_id: lane.published for camera_id, lane in self._lanes.items() if lane.published},
            latency=_quantiles(self._latencies),
            trouble=trouble,
        )

    def _begin(self, submission: Submission, event_id: str) -> asyncio.Task[Receipt]:
        if len(self._under_way) >= MAX_IN_FLIGHT:
            raise DeliveryUnavailable(f"{MAX_IN_FLIGHT} events wait for Kafka already")
        turn = self._take_turn(submission)
        task = asyncio.get_running_loop().create_task(self._commit(submission.event, event_id, turn))
        self._under_way[event_id] = task
        task.add_done_callback(_hear)
        return task

    def _take_turn(self, submission: Submission) -> tuple[int, int] | None:
        if not submission.epoch:
            return None
        lane = self._lane(submission.event.camera_id)
        epoch, sequence = lane.last
        if submission.epoch < epoch:
            self._counts["out_of_order"] += 1
            raise EpochSuperseded(
                f"camera {submission.event.camera_id} is in epoch {epoch}; this frame is of {submission.epoch}"
            )
        if submission.epoch == epoch and submission.sequence <= sequence:
            self._counts["out_of_order"] += 1
            raise FrameRepeated(
                f"camera {submission.event.camera_id} has committed sequence {sequence}; "
                f"this frame has {submission.sequence}"
            )
        turn = (submission.epoch, submission.sequence)
        lane.handed_over.append(turn)
        return turn

    async def _commit(self, event: DetectionEvent, event_id: str, turn: tuple[int, int] | None) -> Receipt:
        outcome = "failed"
        handed_over, started = self._wall_ns(), self._monotonic()
        try:
            if self._sink is None or not (event.objects or self._publish_empty):
                outcome = "discarded"
            else:
                await self._sink.send(make_record(event, total_ms=(handed_over - event.captured_at_ns) / 1e6))
                outcome = "published"
        except DeliveryRefused:
            outcome = "refused"
            raise
        finally:
            # Settled in one step, without an await: so any snapshot finds each event in exactly one place.
            self._settle(event, event_id, turn, outcome)
        if outcome == "published":
            self._tell(event, self._monotonic() - started)
        return Receipt(event_id)

    def _settle(self, event: DetectionEvent, event_id: str, turn: tuple[int, int] | None, outcome: str) -> None:
        del self._under_way[event_id]
        self._counts[outcome] += 1
        committed = outcome in ("published", "discarded")
        if committed:
            self._known[event_id] = self._monotonic() + REPEAT_WINDOW_S
        if outcome == "published":
            self._lane(event.camera_id).published += 1
            self._latencies.append(age_ms := self._age_ms(event))
            self._counts["breaches"] += age_ms > self._budget_ms
        if turn is not None:
            lane = self._lane(event.camera_id)
            lane.handed_over.remove(turn)
            if committed:
                lane.committed = max(lane.committed, turn)

    def _tell(self, event: DetectionEvent, publish_s: float) -> None:
        total_ms = self._latencies[-1]
        try:
            self._observer.published(event.camera_id, total_ms / 1000, publish_s, total_ms > self._budget_ms)
        except Exception:
            logger.exception("an event was published, but its metrics could not be recorded")

    def _age_ms(self, event: DetectionEvent) -> float:
        """Give the time since capture; where the clocks disagree, none."""
        return max(0.0, (self._wall_ns() - event.captured_at_ns) / 1e6)

    def _lane(self, camera_id: str) -> _Lane:
        lane = self._lanes.setdefault(camera_id, _Lane())
        lane.used_at = self._monotonic()
        self._lanes.move_to_end(camera_id)
        return lane

    def _forget_old(self) -> None:
        now = self._monotonic()
        while self._known and (len(self._known) > MAX_REMEMBERED or next(iter(self._known.values())) <= now):
            self._known.popitem(last=False)
        while self._lanes:
            camera_id, lane = next(iter(self._lanes.items()))
            if len(self._lanes) <= MAX_CAMERAS and lane.used_at + CAMERA_IDLE_S > now:
                return
            if lane.handed_over:
                self._lane(camera_id)  # under way, so it is in use
                return
            del self._lanes[camera_id]


def _hear(task: asyncio.Task[Receipt]) -> None:
    """Look at a failure, so that asyncio need not complain where nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def _quantiles(latencies: deque[float]) -> LatencyQuantiles | None:
    if not latencies:
        return None
    ordered = sorted(latencies)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]

    return LatencyQuantiles(len(ordered), at(0.50), at(0.95), at(0.99))
