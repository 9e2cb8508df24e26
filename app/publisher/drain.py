"""Drain: what the spool holds for one topic goes to Kafka, each camera's events in their order.

A camera's waiting events are handed over one after the other, without waiting for each acknowledgement, up to a window.
After an error the window is cut back: what was not acknowledged is sent again, in its order, once everything that was
handed over is settled, and the next event waits for the first acknowledgement. So whatever fails in between, no later
event of a camera can come before an earlier one; this needs what :class:`Sink` promises. Cameras wait for nothing of
each other; those that have events to send take turns, as many as fit. Each topic has a drain of its own, so that one
that takes nothing holds back no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from app.core.backoff import Backoff
from app.core.channel import DETECTIONS
from app.errors import DeliveryError, DeliveryRefused, DeliveryUnavailable
from app.publisher.camera_queue import CameraQueue, Pending, Sent
from app.publisher.outlet import Outlet
from app.publisher.record import EventRecord
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

MAX_HELD = 10_000
"""Events that wait for Kafka in memory; what comes beyond waits on disk alone."""
READ_AHEAD = 200
"""Events read from disk at a time, for one camera."""
WINDOW = 500
"""Events of one camera that are handed over and not acknowledged; after an error 1, until one is acknowledged."""
MAX_SENT = 2_000
"""Events of all cameras that are handed over and not acknowledged."""
CHUNK = 32
"""Events of one camera that are handed over before the next camera is served."""
CAMERA_IDLE_S = 3_600.0
"""A camera of which nothing came for so long is forgotten, with its count."""
MAX_CAMERAS = 20_000
"""Cameras remembered at most; beyond, the one longest idle is forgotten."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""Between two tries to send a camera's next event while Kafka is away."""


class Sink(Protocol):
    """Where records go."""

    def send(self, record: EventRecord) -> Awaitable[object]:
        """Send a record after those that were sent before; return at once.

        Where a record fails with DeliveryUnavailable, a later record of the same key may be written only if the earlier
        one was written as well.

        Returns:
            What is done when the record is durable, and raises DeliveryError where it is not.
        """


class Drain:
    """Sends what was committed, until it is acknowledged or refused for good; used from one event loop."""

    def __init__(
        self,
        sink: Sink,
        outlet: Outlet,
        *,
        max_held: int,
        wall_ns: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._sink = sink
        self._outlet = outlet
        self._max_held = max_held
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._rng = random.Random()
        self._queues: OrderedDict[str, CameraQueue] = OrderedDict()
        self._ready: OrderedDict[str, CameraQueue] = OrderedDict()
        """Cameras that may have something to send now."""
        self._pumping = False
        self._sent = 0
        self._closed = False
        self._progress = asyncio.Event()
        self._held = 0
        self._old_up_to = 0
        self._last_id = 0
        """The highest id of an event that came here."""
        self._waited_up_to = 0
        """The highest one when Kafka last came back: no event up to it is new, whatever the clock says."""
        what = "events" if outlet.channel == DETECTIONS else f"records of channel {outlet.channel}"
        self._outage = TroubleLog(logger, f"{what} wait in the spool", unit="tries", monotonic=monotonic)
        self._refused = TroubleLog(
            logger, f"{what} are set aside", unit="events", level=logging.ERROR, monotonic=monotonic
        )
        self._again = f"{what} go to Kafka again"
        self._unread = TroubleLog(logger, "what waits in the spool cannot be read", unit="tries", monotonic=monotonic)
        self.trouble = ""
        """Why nothing can be delivered now; empty while it can."""

    @property
    def held(self) -> int:
        """Events that wait in memory."""
        return self._held

    @property
    def published(self) -> Mapping[str, int]:
        """Events acknowledged, by camera; one idle for an hour is left out."""
        return {camera_id: queue.published for camera_id, queue in self._queues.items() if queue.published}

    def resume(self, cameras: Sequence[str], last_id: int) -> None:
        """Send what a previous publisher left, up to its last id; it counts as replayed."""
        self._old_up_to = self._last_id = last_id
        self.fetch(cameras)

    async def flush(self, patience_s: float) -> None:
        """Wait until nothing waits for Kafka any more, or it cannot be delivered now; at most ``patience_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not self.trouble and not all(queue.idle for queue in self._queues.values()):
                    self._progress.clear()
                    await self._progress.wait()

    async def close(self) -> None:
        """Stop sending; what waits stays in the spool."""
        self._closed = True
        stopped: list[asyncio.Future[object] | asyncio.Task[None]] = []
        for queue in self._queues.values():
            if queue.paused is not None:
                queue.paused.cancel()
            if queue.reading is not None:
                stopped.append(queue.reading)
            stopped += [sent.outcome for sent in queue.sent]
        for one in stopped:
            one.cancel()
        await asyncio.gather(*stopped, return_exceptions=True)

    def queue(self, camera_id: str, pending: Pending) -> None:
        """Send an event after those of its camera; where memory holds enough, from disk, later."""
        queue = self._queue(camera_id)
        self._last_id = max(self._last_id, pending.id)
        if queue.on_disk or self._held >= self._max_held:
            queue.on_disk = True
        elif pending.id > queue.read_up_to:
            queue.waiting.append(pending)
            queue.read_up_to = pending.id
            self._held += 1
        self._wake(camera_id, queue)

    def fetch(self, cameras: Sequence[str]) -> None:
        """Send what waits on disk."""
        for camera_id in cameras:
            queue = self._queue(camera_id)
            queue.on_disk = True
            self._wake(camera_id, queue)

    def evict_idle(self) -> None:
        """Forget cameras of which nothing came for long."""
        now = self._monotonic()
        while self._queues:
            camera_id, queue = next(iter(self._queues.items()))
            if len(self._queues) <= MAX_CAMERAS and queue.used_at + CAMERA_IDLE_S > now:
                return
            if not queue.idle:
                self._queue(camera_id)  # in use
                return
            del self._queues[camera_id]

    # Handing over.

    def _wake(self, camera_id: str, queue: CameraQueue) -> None:
        self._ready[camera_id] = queue
        self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._pumping and not self._closed:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Hand over what fits, some events of each camera, in turn."""
        self._pumping = False
        for _ in range(len(self._ready)):
            if self._sent >= MAX_SENT or self._closed:
                return  # the next outcome goes on
            camera_id, queue = self._ready.popitem(last=False)
            if self._send_some(camera_id, queue):
                self._ready[camera_id] = queue
        if self._ready:
            self._pump_soon()

    def _send_some(self, camera_id: str, queue: CameraQueue) -> bool:
        """Hand some of a camera's events over; return whether it may have more to send now."""
        if queue.paused is not None or queue.failed:
            return False
        window = 1 if queue.cut_back else WINDOW
        for _ in range(min(CHUNK, MAX_SENT - self._sent)):
            if len(queue.sent) >= window:
                return False
            if not queue.waiting:
                if queue.on_disk and queue.reading is None:
                    queue.reading = asyncio.get_running_loop().create_task(self._read_on(camera_id, queue))
                return False
            self._send(camera_id, queue, queue.waiting.popleft())
        return True

    def _send(self, camera_id: str, queue: CameraQueue, pending: Pending) -> None:
        began, began_ns = self._monotonic(), self._wall_ns()
        try:
            replayed = self._has_waited(pending) or bool(self.trouble)
            record = self._outlet.make(pending, began_ns, replayed=replayed)
        except DeliveryRefused as error:
            self._set_aside(camera_id, pending, error)
            return
        outcome = asyncio.ensure_future(self._sink.send(record))
        queue.sent.append(Sent(pending, outcome, (began_ns - pending.stored_at_ns) / 1e9, began))
        self._sent += 1
        outcome.add_done_callback(functools.partial(self._settle, camera_id, queue))

    async def _read_on(self, camera_id: str, queue: CameraQueue) -> None:
        try:
            found = await self._outlet.waiting(camera_id, queue.read_up_to, READ_AHEAD)
        except DeliveryUnavailable as error:
            self._unread.report(str(error), camera_id=camera_id)
            await asyncio.sleep(LONGEST_PAUSE_S)
        else:
            # What is committed from here on comes into memory again: its id is above all that were read.
            queue.on_disk = len(found) == READ_AHEAD
            for pending in found:
                pending.old = pending.id <= self._old_up_to
                queue.waiting.append(pending)
                queue.read_up_to = pending.id
            self._held += len(found)
        finally:
            queue.reading = None
        self._wake(camera_id, queue)

    def _has_waited(self, pending: Pending) -> bool:
        """Return whether an event waited out an outage; by ids, as a clock may be set back."""
        return pending.old or pending.tried or pending.id <= self._waited_up_to

    # Settling.

    def _settle(self, camera_id: str, queue: CameraQueue, _: asyncio.Future[object]) -> None:
        """Settle a camera's outcomes as far as they are there, in the order of hand-over."""
        while queue.sent and queue.sent[0].outcome.done():
            sent = queue.sent.popleft()
            self._sent -= 1
            if sent.outcome.cancelled():
                continue  # it stays in the spool
            error = sent.outcome.exception()
            if error is None:
                self._acknowledge(queue, sent)
                queue.cut_back = False
                queue.backoff.reset()
            elif isinstance(error, DeliveryRefused):
                self._record_answer()  # Kafka refuses, so it is there
                self._set_aside(camera_id, sent.pending, error)
            else:
                self._fail(queue, sent.pending, error)
        self._progress.set()
        if queue.failed and not queue.sent:
            queue.waiting.extendleft(reversed(queue.failed))
            queue.failed.clear()
            if not self._closed:
                resume = functools.partial(self._end_pause, camera_id, queue)
                queue.paused = asyncio.get_running_loop().call_later(queue.backoff.next(), resume)
        self._wake(camera_id, queue)

    def _fail(self, queue: CameraQueue, pending: Pending, error: BaseException) -> None:
        if not isinstance(error, DeliveryError):
            logger.error("an event could not be handed to Kafka", exc_info=error)
        reason = str(error) or type(error).__name__
        self._outage.report(reason)
        self.trouble = reason
        pending.tried = True
        queue.failed.append(pending)
        queue.cut_back = True

    def _end_pause(self, camera_id: str, queue: CameraQueue) -> None:
        queue.paused = None
        self._wake(camera_id, queue)

    def _record_answer(self) -> None:
        if self.trouble:
            self._outage.resolve(self._again)
            self.trouble, self._waited_up_to = "", self._last_id

    def _set_aside(self, camera_id: str, pending: Pending, error: DeliveryRefused) -> None:
        self._held -= 1
        self._refused.report(str(error), camera_id=camera_id, event_id=pending.event_id)
        self._outlet.refuse(pending, str(error), self._wall_ns())
        self._progress.set()

    def _acknowledge(self, queue: CameraQueue, sent: Sent) -> None:
        pending = sent.pending
        self._held -= 1
        self._record_answer()
        self._outlet.deliver(pending, self._wall_ns())
        queue.published += 1
        queue.used_at = self._monotonic()
        self._outlet.acknowledged(sent, replayed=self._has_waited(pending))

    def _queue(self, camera_id: str) -> CameraQueue:
        queue = self._queues.get(camera_id)
        if queue is None:
            queue = self._queues[camera_id] = CameraQueue(Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, self._rng))
        queue.used_at = self._monotonic()
        self._queues.move_to_end(camera_id)
        return queue
