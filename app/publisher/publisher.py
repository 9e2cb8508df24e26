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
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass

from app.core.channel import DETECTIONS, Channel
from app.core.quantiles import quantiles
from app.errors import DeliveryUnavailable, OrderError, SightlineError
from app.publisher.camera_orders import CameraOrders
from app.publisher.camera_queue import Pending
from app.publisher.channel_drains import ChannelDrains
from app.publisher.closing import Closing
from app.publisher.delivery_times import DeliveryTimes, PublishObserver
from app.publisher.drain import MAX_HELD, Drain, Sink
from app.publisher.outlet import DetectionOutlet
from app.publisher.recent_ids import RecentIds
from app.publisher.rule_book import RuleBook
from app.publisher.shards import ShardReading
from app.publisher.silences import Silences
from app.publisher.snapshot import PublisherSnapshot
from app.publisher.spool.rows import LeftOver
from app.publisher.spool.writer import Outcome, SpoolWriter
from app.publisher.submission import Answer, Receipt, Submission
from app.publisher.track_counts import TrackCounts, TrackObserver
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 2_000
"""Events being committed at the same time; more are refused."""
OPEN_PATIENCE_S = 5.0
"""How long an event waits for a spool that is being opened."""
TIDY_S = 1.0
"""How often the spool is tidied, and its gauges are set."""


@dataclass(frozen=True, eq=False)
class _Begun:
    """An event that is being committed."""

    submission: Submission
    key: tuple[int, int] | None
    """What is reserved of its camera's order."""
    at_ns: int
    outcome: asyncio.Future[Answer]


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
        self._orders = CameraOrders(monotonic)
        self._committing: dict[str, asyncio.Future[Answer]] = {}
        self._work: set[asyncio.Task[None]] = set()
        """What settles those that are being committed."""
        self._recent = RecentIds(monotonic)
        self._counts: Counter[str] = Counter()
        self._maintenance: asyncio.Task[None] | None = None
        self._published_before = 0

    def start(self) -> None:
        """Open the spool, and begin to send what it holds; never waits."""
        if self._maintenance is None:
            self._spool.start(self._opened)
            self._maintenance = asyncio.get_running_loop().create_task(self._maintain())

    async def publish(self, submission: Submission) -> Receipt:
        """Commit an event; see :meth:`publish_group`.

        Raises:
            FrameRepeated: its sequence is at or below one already committed, or being committed, in its epoch.
            EpochSuperseded: a newer epoch of its camera has committed.
            DeliveryUnavailable: it cannot be made durable now; the same event may be submitted again.
        """
        (outcome,) = await self.publish_group([submission])
        if isinstance(outcome, SightlineError):
            raise outcome
        return outcome

    async def publish_group(self, submissions: Sequence[Submission]) -> list[Answer]:
        """Commit events together; from the hand-over on they are carried through, whoever stops waiting.

        Returns:
            A receipt for each, or why it was not committed, see :meth:`publish`.
        """
        try:
            await self._spool.ready(OPEN_PATIENCE_S)
        except DeliveryUnavailable as error:
            return [error] * len(submissions)
        self._evict_idle()
        begun: list[_Begun] = []
        outcomes = [self._begin(submission, begun) for submission in submissions]
        if begun:
            self._start(self._commit(begun))
        if waited := {outcome for outcome in outcomes if isinstance(outcome, asyncio.Future)}:
            await asyncio.wait(waited)  # which cancels none of them
        return [outcome.result() if isinstance(outcome, asyncio.Future) else outcome for outcome in outcomes]

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

    def _opened(self, left: LeftOver) -> None:
        """Resume where the previous publisher ended."""
        self._orders.resume(left.order_keys)
        self._published_before = self.snapshot().published
        if self._drain is not None:
            self._drain.resume(left.cameras, left.last_id)
        self._channels.resume(left.records, left.last_record_id)
        self._silences.watch(left.analysed)

    def _begin(self, submission: Submission, begun: list[_Begun]) -> asyncio.Future[Answer] | Answer:
        """Return what is known of an event, or the future of what becomes of it; one that is new is added to these."""
        event_id = submission.event.event_id
        if (track_ids := self._recent.find(event_id)) is not None:
            self._counts["repeated"] += 1
            return Receipt(event_id, repeated=True, track_ids=track_ids)
        if event_id in self._committing:
            return self._committing[event_id]
        if len(self._committing) >= MAX_IN_FLIGHT:
            return DeliveryUnavailable(f"{MAX_IN_FLIGHT} events are being committed already")
        outcome: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        key = None
        try:
            if submission.epoch:
                key = self._orders.reserve(submission.event.camera_id, submission.epoch, submission.sequence)
        except OrderError as error:
            self._start(self._know(event_id, error, outcome))
        else:
            begun.append(_Begun(submission, key, self._wall_ns(), outcome))
        self._committing[event_id] = outcome
        return outcome

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _know(self, event_id: str, error: OrderError, outcome: asyncio.Future[Answer]) -> None:
        """Distinguish a repeat from a late frame: an id that is no longer in memory may be in the spool."""
        try:
            known = await self._spool.knows(event_id)
            self._counts["repeated" if known else "out_of_order"] += 1
            answer: Answer = Receipt(event_id, repeated=True) if known else error
        except SightlineError as failure:
            answer = failure
        del self._committing[event_id]
        outcome.set_result(answer)

    async def _commit(self, begun: Sequence[_Begun]) -> None:
        """Commit events in one go, and answer each."""
        try:
            arrivals = [one.submission.arrival(one.at_ns, published=self._publishes(one.submission)) for one in begun]
            committed = await self._spool.commit(arrivals)
        except BaseException as error:
            for one in begun:
                self._settle(one, None)
                one.outcome.set_exception(error)
                one.outcome.exception()  # retrieved, or asyncio would log it where nobody waits
            raise
        for one, outcome in zip(begun, committed, strict=True):
            try:
                one.outcome.set_result(self._conclude(one, outcome))
            except Exception as error:  # noqa: BLE001 - a defect costs one event its answer, and no other's
                one.outcome.set_exception(error)
                one.outcome.exception()

    def _publishes(self, submission: Submission) -> bool:
        return self._drain is not None and bool(submission.event.objects or self._publish_empty)

    def _conclude(self, one: _Begun, outcome: Outcome) -> Answer:
        """Settle an event, and have it sent where it was committed."""
        event, event_id = one.submission.event, one.submission.event.event_id
        if isinstance(outcome, SightlineError):
            self._settle(one, None)
            return outcome
        analysed = outcome.analysed if outcome is not None else None
        if analysed is not None:
            event = analysed.event
        track_ids = tuple([found.track_id for found in event.objects])
        self._settle(one, track_ids)
        if outcome is None:
            self._counts["repeated"] += 1
            return Receipt(event_id, repeated=True)
        if outcome.id and self._drain is not None:
            self._drain.queue(
                event.camera_id, Pending(outcome.id, one.at_ns, event_id, event, one.submission.due_at_ns)
            )
        self._channels.queue(outcome.records)
        self._silences.heard(event.camera_id)
        if analysed is not None:
            if self._tracks is not None and analysed.tracks is not None:
                self._tracks.record(event.camera_id, analysed.tracks)
            self._times.judged(event.camera_id, analysed.judged)
        return Receipt(event_id, track_ids=track_ids, pictured=analysed is not None and analysed.pictured)

    def _settle(self, one: _Begun, track_ids: tuple[int | None, ...] | None) -> None:
        """Settle an event; ``track_ids`` is ``None`` where it was not committed."""
        event = one.submission.event
        del self._committing[event.event_id]
        if track_ids is not None:
            self._recent.remember(event.event_id, track_ids)
        else:
            self._counts["failed"] += 1
        if one.key is not None:
            self._orders.settle(event.camera_id, one.key, committed=track_ids is not None)

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
        self._recent.evict()
        self._orders.evict_idle()
