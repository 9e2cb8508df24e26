"""EventPublisher: the one place that commits events: once each, in each camera's order, and accounted for.

An event is committed to the spool, and answered; from there it goes to Kafka, one at a time for each camera, so that
whatever fails in between, no later event of a camera can come before an earlier one.

Order: a camera that numbers its frames (epoch > 0) has its events committed in rising (epoch, sequence). A number is
reserved when its event is handed to the spool, and free again when it cannot be written; so nothing later can be
overtaken by something earlier, and what arrives after its turn is refused.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.errors import (
    DeliveryError,
    DeliveryRefused,
    DeliveryUnavailable,
    EpochSuperseded,
    FrameRepeated,
    OrderError,
    SpoolDamaged,
)
from app.events.event import DetectionEvent, EventRecord, make_record
from app.events.spool import REPEAT_WINDOW_S, Arrival, Delivery, Refusal, Turn, Waiting
from app.events.spool_writer import SpoolWriter
from app.events.stored import dump, load

logger = logging.getLogger(__name__)

MAX_REMEMBERED = 200_000
"""Ids remembered in memory at most; those of the last ten minutes are in the spool, however many."""
MAX_IN_FLIGHT = 2_000
"""Events being committed at the same time; more are refused."""
MAX_HELD = 10_000
"""Events that wait for Kafka in memory; what comes beyond waits on disk alone."""
READ_AHEAD = 200
"""Events read from disk at a time, for one camera."""
CAMERA_IDLE_S = 3_600.0
"""A camera of which nothing came for so long is forgotten, with its count."""
MAX_CAMERAS = 20_000
"""Cameras remembered at most; beyond, the one longest idle is forgotten."""
LATENCY_WINDOW = 2_000
"""Events over which the quantiles are taken."""
OPEN_PATIENCE_S = 5.0
"""How long an event waits for a spool that is being opened."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""Between two tries to send a camera's next event while Kafka is away."""
TIDY_S = 1.0
"""How often the spool is tidied, and its gauges are set."""


class Sink(Protocol):
    """Where records go."""

    async def send(self, record: EventRecord) -> object:
        """Return when the record is durable.

        Raises:
            DeliveryError: it is not.
        """


class PublishObserver(Protocol):
    """Who wants to know of events and of the spool."""

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        """Told after each acknowledgement: seconds from capture, in the spool, from hand-over; and whether late."""

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        """Told how many events wait, their bytes, the age of the oldest in seconds, and how many were set aside."""


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
    """It had been committed before, and is not published again."""


@dataclass(frozen=True)
class LatencyQuantiles:
    """Capture to acknowledgement over the last events that waited out no outage, in milliseconds."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class PublisherSnapshot:
    """One consistent reading; ``accepted = published + spooled + quarantined + discarded`` always holds."""

    accepted: int
    """Events answered with a receipt, in the life of the spool."""
    published: int
    """Events that the topic has."""
    spooled: int
    """Events that wait for Kafka."""
    quarantined: int
    """Events that Kafka refused for good, set aside."""
    discarded: int
    """Events that are not to be published: empty ones, or all while Kafka is off; and what was destroyed on disk."""
    destroyed: int
    """Of the discarded: lost with a damaged spool."""
    spool_bytes: int
    oldest_s: float
    """Age of the oldest event that waits, in seconds; 0 where none does."""
    in_flight: int
    """Events being committed."""
    failed: int
    """Events that could not be committed; the same event may have succeeded later."""
    out_of_order: int
    repeated: int
    breaches: int
    """Events acknowledged later than the budget."""
    by_camera: Mapping[str, int]
    """Events published since the publisher's start, by camera; one idle for an hour is left out."""
    latency: LatencyQuantiles | None
    """None before the first event."""
    trouble: str = ""
    """Why events cannot be committed or delivered now; empty while they can."""


@dataclass
class _Pending:
    """An event of ours that waits for Kafka."""

    id: int
    stored_at_ns: int
    event_id: str
    event: DetectionEvent | None
    """None where its stored form cannot be read."""
    tried: bool = False
    old: bool = False
    """It was there when we started."""


@dataclass
class _Lane:
    """One camera's order, and what waits of it."""

    committed: tuple[int, int] = (0, 0)
    handed_over: list[tuple[int, int]] = field(default_factory=list)
    waiting: deque[_Pending] = field(default_factory=deque)
    read_up_to: int = 0
    """The highest id that came into memory."""
    on_disk: bool = False
    """More may wait on disk, beyond ``read_up_to``."""
    sender: asyncio.Task[None] | None = None
    published: int = 0
    used_at: float = 0.0

    @property
    def last(self) -> tuple[int, int]:
        return max([self.committed, *self.handed_over])

    @property
    def busy(self) -> bool:
        return bool(self.handed_over or self.waiting or self.on_disk or self.sender)


class EventPublisher:
    """Commits events to a spool and drains it into a sink; plain asyncio, to be used from one event loop."""

    def __init__(
        self,
        sink: Sink | None,
        spool: SpoolWriter,
        *,
        budget_ms: float,
        observer: PublishObserver,
        publish_empty: bool = True,
        max_held: int = MAX_HELD,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire a publisher.

        Args:
            sink: where records go; none: Kafka is off, events are accepted and discarded.
            spool: where they are until the sink has them.
            budget_ms: from capture to acknowledgement; later is a breach.
            observer: told of each acknowledged event, and of the spool.
            publish_empty: whether events without objects are published.
            max_held: events that wait in memory; what comes beyond waits on disk alone.
            wall_ns: nanoseconds since 1970 UTC.
            monotonic: seconds.
        """
        self._sink = sink
        self._spool = spool
        self._budget_ms = budget_ms
        self._observer = observer
        self._publish_empty = publish_empty
        self._max_held = max_held
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[Receipt]] = {}
        self._known: OrderedDict[str, float] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._held = 0
        self._old_up_to = 0
        self._sink_trouble = ""
        self._back_at_ns = 0
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open the spool, and begin to send what it holds; never waits."""
        if self._keeping is None:
            self._spool.start(self._opened)
            self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def publish(self, submission: Submission) -> Receipt:
        """Commit an event; from the hand-over on it is carried through, whoever stops waiting.

        Raises:
            FrameRepeated: its sequence is at or below one already committed or under way in its epoch.
            EpochSuperseded: a newer epoch of its camera has committed.
            DeliveryUnavailable: it cannot be made durable now; the same event may be submitted again.
        """
        await self._spool.ready(OPEN_PATIENCE_S)
        event_id = submission.event.event_id
        self._forget_old()
        if event_id in self._known:
            self._counts["repeated"] += 1
            return Receipt(event_id, repeated=True)
        task = self._under_way.get(event_id)
        if task is None:
            task = self._begin(submission, event_id)
        return await asyncio.shield(task)

    def snapshot(self) -> PublisherSnapshot:
        """Read all accounts at one instant."""
        counts, spool = self._counts, self._spool.accounts
        return PublisherSnapshot(
            accepted=spool.accepted if spool else 0,
            published=spool.published if spool else 0,
            spooled=spool.spooled if spool else 0,
            quarantined=spool.quarantined if spool else 0,
            discarded=spool.discarded if spool else 0,
            destroyed=spool.destroyed if spool else 0,
            spool_bytes=spool.bytes if spool else 0,
            oldest_s=self._oldest_s(),
            in_flight=len(self._under_way),
            failed=counts["failed"],
            out_of_order=counts["out_of_order"],
            repeated=counts["repeated"],
            breaches=counts["breaches"],
            by_camera={camera_id: lane.published for camera_id, lane in self._lanes.items() if lane.published},
            latency=_quantiles(self._latencies),
            trouble=self._spool.trouble or self._sink_trouble,
        )

    async def close(self) -> None:
        """Stop sending, write down what was acknowledged, and close the spool; what waits there stays."""
        tasks = [lane.sender for lane in self._lanes.values() if lane.sender is not None]
        tasks += [self._keeping] if self._keeping is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._spool.close()

    # Committing.

    def _opened(self, turns: Sequence[Turn], cameras: Sequence[str], last_id: int) -> None:
        """Take up where the publisher before us ended."""
        self._old_up_to = last_id
        for turn in turns:
            self._lane(turn.camera_id).committed = (turn.epoch, turn.sequence)
        self._fetch(cameras)

    def _begin(self, submission: Submission, event_id: str) -> asyncio.Task[Receipt]:
        if len(self._under_way) >= MAX_IN_FLIGHT:
            raise DeliveryUnavailable(f"{MAX_IN_FLIGHT} events are being committed already")
        try:
            turn = self._take_turn(submission)
        except OrderError as error:
            work = self._known_or(event_id, error)
        else:
            work = self._commit(submission, event_id, turn)
        task = asyncio.get_running_loop().create_task(work)
        self._under_way[event_id] = task
        task.add_done_callback(_hear)
        return task

    def _take_turn(self, submission: Submission) -> tuple[int, int] | None:
        if not submission.epoch:
            return None
        camera_id = submission.event.camera_id
        lane = self._lane(camera_id)
        epoch, sequence = lane.last
        if submission.epoch < epoch:
            raise EpochSuperseded(
                f"camera {camera_id} is in epoch {epoch}; this frame is of {submission.epoch}: "
                "a camera with this id was started since"
            )
        if submission.epoch == epoch and submission.sequence <= sequence:
            raise FrameRepeated(
                f"camera {camera_id} has committed sequence {sequence}; this frame has {submission.sequence}"
            )
        turn = (submission.epoch, submission.sequence)
        lane.handed_over.append(turn)
        return turn

    async def _known_or(self, event_id: str, error: OrderError) -> Receipt:
        """Tell a repeat from a frame that comes late: what we do not remember, the spool may."""
        try:
            if not await self._spool.knows(event_id):
                self._counts["out_of_order"] += 1
                raise error
        finally:
            del self._under_way[event_id]
        self._counts["repeated"] += 1
        return Receipt(event_id, repeated=True)

    async def _commit(self, submission: Submission, event_id: str, turn: tuple[int, int] | None) -> Receipt:
        event, now_ns = submission.event, self._wall_ns()
        wanted = self._sink is not None and bool(event.objects or self._publish_empty)
        body = dump(event) if wanted else b""
        arrival = Arrival(event_id, event.camera_id, submission.epoch, submission.sequence, body, now_ns)
        committed = False
        try:
            given = await self._spool.commit(arrival)
            committed = True
        finally:
            # Settled in one step, without an await: so any snapshot finds each event in exactly one place.
            self._settle(event.camera_id, event_id, turn, committed)
        if given is None:
            self._counts["repeated"] += 1
            return Receipt(event_id, repeated=True)
        if given:
            self._queue(event.camera_id, _Pending(given, now_ns, event_id, event))
        return Receipt(event_id)

    def _settle(self, camera_id: str, event_id: str, turn: tuple[int, int] | None, committed: bool) -> None:
        del self._under_way[event_id]
        if committed:
            self._known[event_id] = self._monotonic() + REPEAT_WINDOW_S
        else:
            self._counts["failed"] += 1
        if turn is not None:
            lane = self._lane(camera_id)
            lane.handed_over.remove(turn)
            if committed:
                lane.committed = max(lane.committed, turn)

    # Draining.

    def _queue(self, camera_id: str, pending: _Pending) -> None:
        """Have an event sent after those of its camera; where memory holds enough, from disk, later."""
        lane = self._lane(camera_id)
        if lane.on_disk or self._held >= self._max_held:
            lane.on_disk = True
        elif pending.id > lane.read_up_to:
            lane.waiting.append(pending)
            lane.read_up_to = pending.id
            self._held += 1
        self._wake(camera_id, lane)

    def _fetch(self, cameras: Sequence[str]) -> None:
        """Have what waits on disk sent."""
        for camera_id in cameras:
            lane = self._lane(camera_id)
            lane.on_disk = True
            self._wake(camera_id, lane)

    def _wake(self, camera_id: str, lane: _Lane) -> None:
        if lane.sender is None and self._sink is not None:
            lane.sender = asyncio.get_running_loop().create_task(self._drain(camera_id, lane, self._sink))
            lane.sender.add_done_callback(_hear_sender)

    async def _drain(self, camera_id: str, lane: _Lane, sink: Sink) -> None:
        """Send a camera's events, each after the acknowledgement of the one before."""
        try:
            while lane.waiting or lane.on_disk:
                if not lane.waiting:
                    await self._read_on(camera_id, lane)
                    continue
                await self._deliver(lane, lane.waiting[0], sink)
                lane.waiting.popleft()
                self._held -= 1
        finally:
            lane.sender = None

    async def _read_on(self, camera_id: str, lane: _Lane) -> None:
        try:
            rows = await self._spool.waiting(camera_id, lane.read_up_to, READ_AHEAD)
        except DeliveryUnavailable as error:
            logger.warning("what waits of camera %s cannot be read: %s", camera_id, error)
            await asyncio.sleep(LONGEST_PAUSE_S)
            return
        # What is committed from here on comes into memory again: its id is above all that were read.
        lane.on_disk = len(rows) == READ_AHEAD
        for row in rows:
            lane.waiting.append(self._pending(row))
            lane.read_up_to = row.id
        self._held += len(rows)

    def _pending(self, row: Waiting) -> _Pending:
        try:
            event = load(row.body)
        except SpoolDamaged:
            event = None
        return _Pending(row.id, row.stored_at_ns, row.event_id, event, old=row.id <= self._old_up_to)

    async def _deliver(self, lane: _Lane, pending: _Pending, sink: Sink) -> None:
        """Send one event until it is acknowledged, or refused for good."""
        tries = 0
        while True:
            began, began_ns = self._monotonic(), self._wall_ns()
            try:
                await sink.send(self._record(pending, began_ns))
            except DeliveryRefused as error:
                logger.error("event %s is set aside: %s", pending.event_id, error)
                self._spool.refuse(Refusal(pending.id, str(error), self._wall_ns()))
                return
            except DeliveryError as error:
                self._lose(str(error))
                pending.tried = True
                longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries, 10))
                await asyncio.sleep(longest * random.uniform(0.5, 1.0))
                tries += 1
                continue
            self._acknowledged(lane, pending, (began_ns - pending.stored_at_ns) / 1e9, self._monotonic() - began)
            return

    def _record(self, pending: _Pending, now_ns: int) -> EventRecord:
        if pending.event is None:
            raise DeliveryRefused("its stored form cannot be read")
        replayed = pending.old or pending.tried or pending.stored_at_ns < self._back_at_ns or bool(self._sink_trouble)
        total_ms = (now_ns - pending.event.captured_at_ns) / 1e6
        return make_record(pending.event, total_ms=total_ms, replayed=replayed)

    def _lose(self, reason: str) -> None:
        if not self._sink_trouble:
            logger.warning("events wait in the spool: %s", reason)
        self._sink_trouble = reason

    def _acknowledged(self, lane: _Lane, pending: _Pending, spool_s: float, publish_s: float) -> None:
        if self._sink_trouble:
            logger.info("events go to Kafka again")
            self._sink_trouble, self._back_at_ns = "", self._wall_ns()
        self._spool.deliver(Delivery(pending.id, pending.event_id, self._wall_ns()))
        assert pending.event is not None
        lane.published += 1
        lane.used_at = self._monotonic()
        age_ms = self._age_ms(pending.event)
        breach = age_ms > self._budget_ms
        self._counts["breaches"] += breach
        if not (pending.old or pending.tried or pending.stored_at_ns < self._back_at_ns):
            self._latencies.append(age_ms)
        try:
            self._observer.published(
                pending.event.camera_id, age_ms / 1000, max(0.0, spool_s), max(0.0, publish_s), breach
            )
        except Exception:
            logger.exception("an event was published, but its metrics could not be recorded")

    async def _keep(self) -> None:
        """Tidy the spool, and tell how it is."""
        while True:
            await asyncio.sleep(TIDY_S)
            try:
                self._fetch(await self._spool.tidy(self._wall_ns()))
                accounts = self._spool.accounts
                if accounts is not None:
                    self._observer.spool(accounts.spooled, accounts.bytes, self._oldest_s(), accounts.quarantined)
            except DeliveryUnavailable:
                continue  # told by whoever wanted to write
            except Exception:
                logger.exception("the spool's gauges could not be set")

    def _oldest_s(self) -> float:
        accounts = self._spool.accounts
        if accounts is None or accounts.oldest_at_ns is None:
            return 0.0
        return max(0.0, (self._wall_ns() - accounts.oldest_at_ns) / 1e9)

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
            if lane.busy:
                self._lane(camera_id)  # in use
                return
            del self._lanes[camera_id]


def _hear_sender(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a camera's events are no longer sent", exc_info=error)


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
