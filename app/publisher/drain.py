"""Drain: what the spool holds goes to Kafka, each camera's events one after the other.

A camera's next event is sent only after the acknowledgement of the one before: so whatever fails in between, no later
event of a camera can come before an earlier one. Cameras wait for nothing of each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.core.event import DetectionEvent
from app.errors import DeliveryError, DeliveryRefused, DeliveryUnavailable, SpoolDamaged
from app.publisher.record import EventRecord, make_record
from app.publisher.spool.codec import load
from app.publisher.spool.rows import Delivery, Refusal, Waiting
from app.publisher.spool.writer import SpoolWriter
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

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
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""Between two tries to send a camera's next event while Kafka is away."""


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


@dataclass
class Pending:
    """An event of ours that waits for Kafka."""

    id: int
    stored_at_ns: int
    event_id: str
    event: DetectionEvent | None
    """``None`` where its stored form cannot be read."""
    due_at_ns: int | None = None
    """See :class:`~app.publisher.publisher.Submission`."""
    tried: bool = False
    old: bool = False
    """It was there when we started."""


@dataclass
class _Lane:
    """What waits of one camera."""

    waiting: deque[Pending] = field(default_factory=deque)
    read_up_to: int = 0
    """The highest id that came into memory."""
    on_disk: bool = False
    """More may wait on disk, beyond ``read_up_to``."""
    sender: asyncio.Task[None] | None = None
    published: int = 0
    used_at: float = 0.0


class Drain:
    """Sends what was committed, until it is acknowledged or refused for good; used from one event loop."""

    def __init__(
        self,
        sink: Sink,
        spool: SpoolWriter,
        *,
        budget_ms: float,
        observer: PublishObserver,
        max_held: int,
        wall_ns: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._sink = sink
        self._spool = spool
        self._budget_ms = budget_ms
        """From capture to acknowledgement, of frames that come without a budget; later is a breach."""
        self._observer = observer
        self._max_held = max_held
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._latencies: deque[tuple[float, float]] = deque(maxlen=LATENCY_WINDOW)
        """When each was acknowledged, in monotonic seconds, and its milliseconds since capture."""
        self._held = 0
        self._old_up_to = 0
        self._last_id = 0
        """The highest id of an event that came here."""
        self._waited_up_to = 0
        """The highest one when Kafka last came back: no event up to it is new, whatever the clock says."""
        self._losing = TroubleLog(logger, "events wait in the spool", unit="tries", monotonic=monotonic)
        self._refused = TroubleLog(
            logger, "events are set aside", unit="events", level=logging.ERROR, monotonic=monotonic
        )
        self._unread = TroubleLog(logger, "what waits in the spool cannot be read", unit="tries", monotonic=monotonic)
        self._uncounted = TroubleLog(
            logger, "events were published, but not counted in the metrics", level=logging.ERROR, monotonic=monotonic
        )
        self.trouble = ""
        """Why nothing can be delivered now; empty while it can."""
        self.breaches = 0
        """Events acknowledged later than the budget."""

    @property
    def held(self) -> int:
        """Events that wait in memory."""
        return self._held

    @property
    def published(self) -> Mapping[str, int]:
        """Events acknowledged, by camera; one idle for an hour is left out."""
        return {camera_id: lane.published for camera_id, lane in self._lanes.items() if lane.published}

    def latencies_ms(self, seconds: float | None = None) -> tuple[float, ...]:
        """Give capture to acknowledgement of the last events that waited out no outage, in milliseconds.

        With ``seconds`` of those only that were acknowledged since so long ago.
        """
        since = -math.inf if seconds is None else self._monotonic() - seconds
        return tuple(ms for at, ms in self._latencies if at >= since)

    def take_up(self, cameras: Sequence[str], last_id: int) -> None:
        """Have what a publisher before us left sent, up to its last id; it counts as replayed."""
        self._old_up_to = self._last_id = last_id
        self.fetch(cameras)

    async def close(self) -> None:
        """Stop sending; what waits stays in the spool."""
        senders = [lane.sender for lane in self._lanes.values() if lane.sender is not None]
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)

    def queue(self, camera_id: str, pending: Pending) -> None:
        """Have an event sent after those of its camera; where memory holds enough, from disk, later."""
        lane = self._lane(camera_id)
        self._last_id = max(self._last_id, pending.id)
        if lane.on_disk or self._held >= self._max_held:
            lane.on_disk = True
        elif pending.id > lane.read_up_to:
            lane.waiting.append(pending)
            lane.read_up_to = pending.id
            self._held += 1
        self._wake(camera_id, lane)

    def fetch(self, cameras: Sequence[str]) -> None:
        """Have what waits on disk sent."""
        for camera_id in cameras:
            lane = self._lane(camera_id)
            lane.on_disk = True
            self._wake(camera_id, lane)

    def _wake(self, camera_id: str, lane: _Lane) -> None:
        if lane.sender is None:
            lane.sender = asyncio.get_running_loop().create_task(self._drain(camera_id, lane))
            lane.sender.add_done_callback(_hear_sender)

    async def _drain(self, camera_id: str, lane: _Lane) -> None:
        """Send a camera's events, each after the acknowledgement of the one before."""
        try:
            while lane.waiting or lane.on_disk:
                if not lane.waiting:
                    await self._read_on(camera_id, lane)
                    continue
                await self._deliver(lane, lane.waiting[0])
                lane.waiting.popleft()
                self._held -= 1
        finally:
            lane.sender = None

    async def _read_on(self, camera_id: str, lane: _Lane) -> None:
        try:
            rows = await self._spool.waiting(camera_id, lane.read_up_to, READ_AHEAD)
        except DeliveryUnavailable as error:
            self._unread.again(str(error), camera_id=camera_id)
            await asyncio.sleep(LONGEST_PAUSE_S)
            return
        # What is committed from here on comes into memory again: its id is above all that were read.
        lane.on_disk = len(rows) == READ_AHEAD
        for row in rows:
            lane.waiting.append(self._pending(row))
            lane.read_up_to = row.id
        self._held += len(rows)

    def _pending(self, row: Waiting) -> Pending:
        event, due_at_ns = None, None
        with contextlib.suppress(SpoolDamaged):
            event, due_at_ns = load(row.body)
        return Pending(row.id, row.stored_at_ns, row.event_id, event, due_at_ns, old=row.id <= self._old_up_to)

    async def _deliver(self, lane: _Lane, pending: Pending) -> None:
        """Send one event until it is acknowledged, or refused for good."""
        tries = 0
        while True:
            began, began_ns = self._monotonic(), self._wall_ns()
            handed_over = False
            try:
                record = self._record(pending, began_ns)
                handed_over = True
                await self._sink.send(record)
            except DeliveryRefused as error:
                if handed_over:
                    self._answered()  # Kafka says no, so it is there
                camera_id = pending.event.camera_id if pending.event is not None else ""
                self._refused.again(str(error), camera_id=camera_id, event_id=pending.event_id)
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

    def _record(self, pending: Pending, now_ns: int) -> EventRecord:
        if pending.event is None:
            raise DeliveryRefused("its stored form cannot be read")
        replayed = self._has_waited(pending) or bool(self.trouble)
        total_ms = (now_ns - pending.event.captured_at_ns) / 1e6
        return make_record(pending.event, total_ms=total_ms, replayed=replayed)

    def _has_waited(self, pending: Pending) -> bool:
        """Return whether an event waited out an outage; by ids, as a clock may be set back."""
        return pending.old or pending.tried or pending.id <= self._waited_up_to

    def _lose(self, reason: str) -> None:
        self._losing.again(reason)
        self.trouble = reason

    def _answered(self) -> None:
        if self.trouble:
            self._losing.over("events go to Kafka again")
            self.trouble, self._waited_up_to = "", self._last_id

    def _acknowledged(self, lane: _Lane, pending: Pending, spool_s: float, publish_s: float) -> None:
        self._answered()
        self._spool.deliver(Delivery(pending.id, pending.event_id, self._wall_ns()))
        assert pending.event is not None
        lane.published += 1
        lane.used_at = self._monotonic()
        age_ms = self._age_ms(pending.event)
        breach = self._is_late(pending, age_ms)
        self.breaches += breach
        if not self._has_waited(pending):
            self._latencies.append((lane.used_at, age_ms))
        try:
            self._observer.published(
                pending.event.camera_id, age_ms / 1000, max(0.0, spool_s), max(0.0, publish_s), breach
            )
        except Exception as error:  # noqa: BLE001 - metrics are no reason to stop sending
            self._uncounted.again(type(error).__name__, error=error)

    def _is_late(self, pending: Pending, age_ms: float) -> bool:
        """Return whether the budget of the event's frame has passed, by one clock where the frame came with one."""
        return age_ms > self._budget_ms if pending.due_at_ns is None else self._wall_ns() > pending.due_at_ns

    def _age_ms(self, event: DetectionEvent) -> float:
        """Give the time since capture; where the clocks disagree, none."""
        return max(0.0, (self._wall_ns() - event.captured_at_ns) / 1e6)

    def _lane(self, camera_id: str) -> _Lane:
        lane = self._lanes.setdefault(camera_id, _Lane())
        lane.used_at = self._monotonic()
        self._lanes.move_to_end(camera_id)
        return lane

    def forget_old(self) -> None:
        """Forget cameras of which nothing came for long."""
        now = self._monotonic()
        while self._lanes:
            camera_id, lane = next(iter(self._lanes.items()))
            if len(self._lanes) <= MAX_CAMERAS and lane.used_at + CAMERA_IDLE_S > now:
                return
            if lane.sender is not None:
                self._lane(camera_id)  # in use
                return
            del self._lanes[camera_id]


def _hear_sender(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a camera's events are no longer sent", exc_info=error)
