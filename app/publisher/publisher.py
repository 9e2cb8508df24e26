"""EventPublisher: the one place that commits events: once each, in each camera's order, and accounted for.

An event is committed to the spool, and answered; from there it goes to Kafka, one at a time for each camera, so that
whatever fails in between, no later event of a camera can come before an earlier one.

Order: a camera that numbers its frames (epoch > 0) has its events committed in rising (epoch, sequence). A number is
reserved when its event is handed to the spool, and free again when it cannot be written; so nothing later can be
overtaken by something earlier, and a frame that arrives after a later one is refused.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from app.core.channel import DETECTIONS, Channel
from app.core.event import DetectionEvent, WeakDetection
from app.core.quantiles import quantiles
from app.errors import DeliveryUnavailable, OrderError
from app.publisher.camera_orders import CameraOrders
from app.publisher.camera_queue import Pending
from app.publisher.channel_drains import ChannelDrains
from app.publisher.closing import Closing
from app.publisher.delivery_times import DeliveryTimes, PublishObserver
from app.publisher.drain import MAX_HELD, Drain, Sink
from app.publisher.outlet import DetectionOutlet
from app.publisher.rule_book import RuleBook
from app.publisher.shards import ShardReading
from app.publisher.silences import Silences
from app.publisher.snapshot import PublisherSnapshot
from app.publisher.spool.analysis import JudgedFrame
from app.publisher.spool.rows import Arrival, LeftOver
from app.publisher.spool.spool import REPEAT_WINDOW_S
from app.publisher.spool.writer import SpoolWriter
from app.publisher.track_counts import TrackCounts, TrackObserver
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

MAX_REMEMBERED = 200_000
"""Ids remembered in memory at most; those of the last ten minutes are in the spool, however many."""
MAX_IN_FLIGHT = 2_000
"""Events being committed at the same time; more are refused."""
OPEN_PATIENCE_S = 5.0
"""How long an event waits for a spool that is being opened."""
TIDY_S = 1.0
"""How often the spool is tidied, and its gauges are set."""


@dataclass(frozen=True)
class Submission:
    """An event to be committed."""

    event: DetectionEvent
    epoch: int = 0
    """One life of its camera, rising; 0: no order is asked."""
    sequence: int = 0
    """Rising within an epoch."""
    due_at_ns: int | None = None
    """When the event should be at Kafka, by the budget that its frame came with; nanoseconds since 1970 UTC by this
    system's clock, not the camera's. ``None``: the frame came without one."""
    weak: tuple[WeakDetection, ...] = ()
    """Boxes that the event does not show; they help to follow its objects."""
    tracked: bool = True
    """Whether the camera's objects are to be tracked."""
    picture: bytes | None = field(default=None, repr=False)
    """The frame as it was judged, where an earlier receipt of the camera asked for it."""


@dataclass(frozen=True)
class Receipt:
    """The event is durable."""

    event_id: str
    repeated: bool = False
    """It had been committed before, and is not published again."""
    track_ids: tuple[int | None, ...] = ()
    """Of the event's objects, in their order; empty where they are not known any more: of an event that an earlier
    publisher committed."""
    pictured: bool = False
    """Whether the camera's next frames are to come with their pictures."""


class EventPublisher:
    """Commits events to a spool and drains it into a sink; plain asyncio, to be used from one event loop."""

    def __init__(
        self,
        sink: Sink | None,
        spool: SpoolWriter,
        *,
        budget_ms: float,
        observer: PublishObserver,
        tracks: TrackObserver | None = None,
        publish_empty: bool = True,
        max_held: int = MAX_HELD,
        channels: Mapping[Channel, Sink] | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire a publisher.

        Args:
            sink: where records go; ``None``: Kafka is off, events are accepted and discarded.
            spool: where they are until the sink has them.
            budget_ms: from capture to acknowledgement, of frames that come without a budget; later is a breach.
            observer: notified of each acknowledged event, and of the spool.
            tracks: notified of the tracks, once a second; ``None``: nobody is.
            publish_empty: whether events without objects are published.
            channels: where records of the other topics go; one that is missing is turned off.
            max_held: events that wait in memory; what comes beyond waits on disk alone.
            wall_ns: nanoseconds since 1970 UTC.
            monotonic: seconds.
        """
        self._spool = spool
        self.rules = RuleBook(spool)
        """The rules in force, and what they found."""
        self._observer = observer
        self._no_gauges = TroubleLog(
            logger, "the spool's gauges cannot be set", level=logging.ERROR, monotonic=monotonic
        )
        self._tracks = TrackCounts(tracks, monotonic) if tracks is not None else None
        self._publish_empty = publish_empty
        self._times = DeliveryTimes(observer, budget_ms=budget_ms, wall_ns=wall_ns, monotonic=monotonic)
        self._drain: Drain | None = None
        if sink is not None:
            self._drain = Drain(
                sink, DetectionOutlet(spool, self._times), max_held=max_held, wall_ns=wall_ns, monotonic=monotonic
            )
        self._channels = ChannelDrains(channels or {}, spool, max_held=max_held, wall_ns=wall_ns, monotonic=monotonic)
        self._silences = Silences(spool, self._channels, self._times.judged, wall_ns=wall_ns, monotonic=monotonic)
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._orders = CameraOrders(monotonic)
        self._committing: dict[str, asyncio.Task[Receipt]] = {}
        self._known: OrderedDict[str, tuple[float, tuple[int | None, ...]]] = OrderedDict()
        """Until when an id is known, in monotonic seconds, and the tracks of its objects."""
        self._counts: Counter[str] = Counter()
        self._maintenance: asyncio.Task[None] | None = None
        self._published_before = 0

    def start(self) -> None:
        """Open the spool, and begin to send what it holds; never waits."""
        if self._maintenance is None:
            self._spool.start(self._opened)
            self._maintenance = asyncio.get_running_loop().create_task(self._maintain())

    async def publish(self, submission: Submission) -> Receipt:
        """Commit an event; from the hand-over on it is carried through, whoever stops waiting.

        Raises:
            FrameRepeated: its sequence is at or below one already committed, or being committed, in its epoch.
            EpochSuperseded: a newer epoch of its camera has committed.
            DeliveryUnavailable: it cannot be made durable now; the same event may be submitted again.
        """
        await self._spool.ready(OPEN_PATIENCE_S)
        event_id = submission.event.event_id
        self._evict_idle()
        if event_id in self._known:
            self._counts["repeated"] += 1
            return Receipt(event_id, repeated=True, track_ids=self._known[event_id][1])
        task = self._committing.get(event_id)
        if task is None:
            task = self._begin(submission, event_id)
        return await asyncio.shield(task)

    async def end_cameras(self, camera_ids: Sequence[str]) -> None:
        """End the incidents and objects of cameras that were removed; raises DeliveryUnavailable."""
        await self._spool.ready(OPEN_PATIENCE_S)
        await self._silences.end(camera_ids)

    def snapshot(self, seconds: float | None = None) -> PublisherSnapshot:
        """Read all accounts at one instant; with ``seconds`` the quantiles are of what Kafka got since so long ago."""
        counts, spool, drain = self._counts, self._spool.accounts, self._drain
        return PublisherSnapshot(
            accepted=spool.accepted if spool else 0,
            published=spool.published if spool else 0,
            spooled=spool.spooled if spool else 0,
            quarantined=spool.quarantined if spool else 0,
            discarded=spool.discarded if spool else 0,
            destroyed=spool.destroyed if spool else 0,
            spool_bytes=spool.bytes if spool else 0,
            oldest_s=self._oldest_s(),
            in_flight=len(self._committing),
            failed=counts["failed"],
            out_of_order=counts["out_of_order"],
            repeated=counts["repeated"],
            breaches=self._times.breaches,
            by_camera=drain.published if drain else {},
            latency=quantiles(self._times.latencies_ms(seconds)),
            trouble=self._spool.trouble or (drain.trouble if drain else ""),
            refusal=spool.refusal if spool else "",
            channels=self._channels.snapshot(spool),
        )

    def reading(self, seconds: float | None = None) -> ShardReading:
        """Read all accounts at one instant, with the latencies that their quantiles are taken of."""
        return ShardReading(self.snapshot(seconds), self._times.latencies_ms(seconds))

    async def finish(self, patience_s: float) -> Closing:
        """Wait for commits, then for Kafka where it takes events, ``patience_s`` seconds each at most; then close."""
        if self._committing:
            await asyncio.wait(set(self._committing.values()), timeout=patience_s)
        flushed = [] if self._drain is None else [self._drain.flush(patience_s)]
        await asyncio.gather(*flushed, self._channels.flush(patience_s))
        await self.close()
        last = self.snapshot()
        return Closing(max(0, last.published - self._published_before), last.spooled, last.quarantined)

    async def close(self) -> None:
        """Stop sending, write down what was acknowledged, and close the spool; what waits there stays."""
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.gather(self._maintenance, return_exceptions=True)
        if self._drain is not None:
            await self._drain.close()
        await self._channels.close()
        await self._spool.close()

    # Committing.

    def _opened(self, left: LeftOver) -> None:
        """Resume where the previous publisher ended."""
        self._orders.resume(left.order_keys)
        self._published_before = self.snapshot().published
        if self._drain is not None:
            self._drain.resume(left.cameras, left.last_id)
        self._channels.resume(left.records, left.last_record_id)
        self._silences.watch(left.analysed)

    def _begin(self, submission: Submission, event_id: str) -> asyncio.Task[Receipt]:
        if len(self._committing) >= MAX_IN_FLIGHT:
            raise DeliveryUnavailable(f"{MAX_IN_FLIGHT} events are being committed already")
        try:
            key = None
            if submission.epoch:
                key = self._orders.reserve(submission.event.camera_id, submission.epoch, submission.sequence)
        except OrderError as error:
            work = self._known_or(event_id, error)
        else:
            work = self._commit(submission, event_id, key)
        task = asyncio.get_running_loop().create_task(work)
        self._committing[event_id] = task
        task.add_done_callback(_retrieve_failure)
        return task

    async def _known_or(self, event_id: str, error: OrderError) -> Receipt:
        """Distinguish a repeat from a late frame: an id that is no longer in memory may be in the spool."""
        try:
            if not await self._spool.knows(event_id):
                self._counts["out_of_order"] += 1
                raise error
        finally:
            del self._committing[event_id]
        self._counts["repeated"] += 1
        return Receipt(event_id, repeated=True)

    async def _commit(self, submission: Submission, event_id: str, key: tuple[int, int] | None) -> Receipt:
        event, now_ns = submission.event, self._wall_ns()
        published = self._drain is not None and bool(event.objects or self._publish_empty)
        frame = JudgedFrame(
            event, submission.weak, submission.tracked, published, submission.due_at_ns, submission.picture
        )
        arrival = Arrival(event_id, event.camera_id, submission.epoch, submission.sequence, b"", now_ns, frame)
        track_ids: tuple[int | None, ...] | None = None
        try:
            committed = await self._spool.commit(arrival)
            if committed is not None and committed.analysed is not None:
                event = committed.analysed.event
                if self._tracks is not None and committed.analysed.tracks is not None:
                    self._tracks.record(event.camera_id, committed.analysed.tracks)
            track_ids = tuple([one.track_id for one in event.objects])
        finally:
            # Settled in one step, without an await: so any snapshot counts each event exactly once.
            self._settle(event.camera_id, event_id, key, track_ids)
        if committed is None:
            self._counts["repeated"] += 1
            return Receipt(event_id, repeated=True)
        if committed.id and self._drain is not None:
            self._drain.queue(event.camera_id, Pending(committed.id, now_ns, event_id, event, submission.due_at_ns))
        self._channels.queue(committed.records)
        self._silences.heard(event.camera_id)
        pictured = committed.analysed is not None and committed.analysed.pictured
        if committed.analysed is not None:
            self._times.judged(event.camera_id, committed.analysed.judged)
        return Receipt(event_id, track_ids=track_ids, pictured=pictured)

    def _settle(
        self,
        camera_id: str,
        event_id: str,
        key: tuple[int, int] | None,
        track_ids: tuple[int | None, ...] | None,
    ) -> None:
        """Settle an event; ``track_ids`` is ``None`` where it was not committed."""
        del self._committing[event_id]
        committed = track_ids is not None
        if track_ids is not None:
            self._known[event_id] = self._monotonic() + REPEAT_WINDOW_S, track_ids
        else:
            self._counts["failed"] += 1
        if key is not None:
            self._orders.settle(camera_id, key, committed=committed)

    async def _maintain(self) -> None:
        """Tidy the spool every second, and set its gauges."""
        while True:
            await asyncio.sleep(TIDY_S)
            try:
                for channel, camera_id in await self._spool.tidy(self._wall_ns()):
                    self._channels.fetch(channel, camera_id)
                    if channel == DETECTIONS and self._drain is not None:
                        self._drain.fetch([camera_id])
                await self._silences.end_due()
                if self._tracks is not None:
                    self._tracks.report()
                accounts = self._spool.accounts
                if accounts is not None:
                    for channel, one in self._channels.snapshot(accounts).items():
                        self._observer.outbox(channel, one.accounts.waiting)
                    self._observer.spool(accounts.spooled, accounts.bytes, self._oldest_s(), accounts.quarantined)
            except DeliveryUnavailable:
                continue  # reported by whoever had something to write
            except Exception as error:  # noqa: BLE001 - gauges are no reason to stop
                self._no_gauges.report(type(error).__name__, error=error)

    def _oldest_s(self) -> float:
        accounts = self._spool.accounts
        if accounts is None or accounts.oldest_at_ns is None:
            return 0.0
        return max(0.0, (self._wall_ns() - accounts.oldest_at_ns) / 1e9)

    def _evict_idle(self) -> None:
        if self._drain is not None:
            self._drain.evict_idle()
        self._channels.evict_idle()
        now = self._monotonic()
        while self._known and (len(self._known) > MAX_REMEMBERED or next(iter(self._known.values()))[0] <= now):
            self._known.popitem(last=False)
        self._orders.evict_idle()


def _retrieve_failure(task: asyncio.Task[Receipt]) -> None:
    """Retrieve a failure, so that asyncio does not log it where nobody waits for the task any more."""
    if not task.cancelled():
        task.exception()
