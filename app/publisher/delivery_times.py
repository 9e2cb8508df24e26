"""DeliveryTimes: how long acknowledged events took, how many were late, and who is notified of each."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

from app.publisher.camera_queue import Pending, Sent
from app.publisher.spool.analysis import Judged
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

LATENCY_WINDOW = 2_000
"""Events over which the quantiles are taken."""


class PublishObserver(Protocol):
    """Receives what happens to events and to the spool, for metrics."""

    def published(self, camera_id: str, total_s: float, spool_s: float, publish_s: float, breach: bool) -> None:
        """Record an acknowledged event: seconds from capture, in the spool, from hand-over; and whether late."""

    def outbox(self, channel: str, waiting: int) -> None:
        """Record how many records wait for another topic."""

    def judged(self, camera_id: str, judged: Judged) -> None:
        """Record, after a commit, what the rules said of the frame, or what ended as the camera is gone."""

    def spool(self, events: int, size: int, oldest_s: float, quarantined: int) -> None:
        """Record the events that wait, their bytes, the age of the oldest in seconds, and the events set aside."""


class DeliveryTimes:
    """The last latencies, and the breaches of the budget."""

    def __init__(
        self,
        observer: PublishObserver,
        *,
        budget_ms: float,
        wall_ns: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._observer = observer
        self._budget_ms = budget_ms
        """From capture to acknowledgement, of frames that come without a budget; later is a breach."""
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._latencies: deque[tuple[float, float]] = deque(maxlen=LATENCY_WINDOW)
        """When each was acknowledged, in monotonic seconds, and its milliseconds since capture."""
        self._uncounted = TroubleLog(
            logger, "events were published, but not counted in the metrics", level=logging.ERROR, monotonic=monotonic
        )
        self.breaches = 0
        """Events acknowledged later than the budget."""

    def latencies_ms(self, seconds: float | None = None) -> tuple[float, ...]:
        """Return capture to acknowledgement of the last events that waited out no outage, in milliseconds.

        With ``seconds`` of those only that were acknowledged since so long ago.
        """
        since = -math.inf if seconds is None else self._monotonic() - seconds
        return tuple(ms for at, ms in self._latencies if at >= since)

    def record(self, sent: Sent, *, replayed: bool) -> None:
        """Record that an event was acknowledged just now; one that waited out an outage has no latency of its own."""
        event = sent.pending.event
        assert event is not None
        now = self._monotonic()
        age_ms = max(0.0, (self._wall_ns() - event.captured_at_ns) / 1e6)  # clocks may disagree
        breach = self._is_late(sent.pending, age_ms)
        self.breaches += breach
        if not replayed:
            self._latencies.append((now, age_ms))
        try:
            self._observer.published(
                event.camera_id, age_ms / 1000, max(0.0, sent.spool_s), max(0.0, now - sent.began), breach
            )
        except Exception as error:  # noqa: BLE001 - metrics are no reason to stop sending
            self._uncounted.report(type(error).__name__, error=error)

    def judged(self, camera_id: str, judged: Judged) -> None:
        """Notify of what the rules said of a frame, or of what ended as its camera is gone."""
        try:
            self._observer.judged(camera_id, judged)
        except Exception as error:  # noqa: BLE001 - metrics are no reason to stop committing
            self._uncounted.report(type(error).__name__, error=error)

    def _is_late(self, pending: Pending, age_ms: float) -> bool:
        """Return whether the budget of the event's frame has passed, by one clock where the frame came with one."""
        return age_ms > self._budget_ms if pending.due_at_ns is None else self._wall_ns() > pending.due_at_ns
