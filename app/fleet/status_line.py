"""StatusLine: one line about the whole system: what was published, what was dropped, and how long it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.cameras import CameraStatus
from app.cameras.ledger import DropReason, LedgerSnapshot
from app.publisher import PublisherSnapshot


@dataclass(frozen=True)
class Observation:
    """The state of the running system at one instant."""

    at: float
    """Seconds, monotonic."""
    cameras: Sequence[CameraStatus]
    publisher: PublisherSnapshot | None
    """``None`` while it cannot be reached."""
    desired: frozenset[str]
    """Ids of the desired cameras."""


class StatusLine:
    """Turns successive observations into lines, each about the time since the one before."""

    def __init__(self, budget_ms: float) -> None:
        self._budget_ms = budget_ms
        self._last: Observation | None = None
        # By desired camera, with its epoch, however old: a camera that missed an observation has not dropped all again.
        self._ledgers: dict[str, tuple[int, LedgerSnapshot]] = {}

    def set_budget(self, budget_ms: float) -> None:
        """Show another latency budget, in milliseconds, from now on."""
        self._budget_ms = budget_ms

    def line(self, now: Observation) -> str:
        """Return what happened since the last observation, in one line."""
        last, self._last = self._last, now
        return " | ".join(
            [
                self._rate(last, now),
                self._dropped(now),
                self._latency(now.publisher),
                _cameras(now),
                *self._backlog(now.publisher),
                *_quarantine(now.publisher),
                *([now.publisher.evidence.trouble] if now.publisher and now.publisher.evidence.trouble else []),
            ]
        )

    def _backlog(self, publisher: PublisherSnapshot | None) -> list[str]:
        """Return what waits in the spool, where Kafka is away."""
        if publisher is None:
            return []
        if publisher.trouble:
            return [f"{publisher.spooled} events wait in the spool: {publisher.trouble}"]
        return [
            f"{one.accounts.waiting} records of {channel} wait in the spool: {one.trouble}"
            for channel, one in publisher.channels.items()
            if one.trouble
        ]

    def _rate(self, last: Observation | None, now: Observation) -> str:
        if now.publisher is None:
            return "publisher away"
        if last is None or last.publisher is None or now.publisher.published < last.publisher.published:
            return f"{now.publisher.published} events"
        fresh = now.publisher.published - last.publisher.published
        return f"{fresh / max(1e-9, now.at - last.at):.1f} events/s"

    def _latency(self, publisher: PublisherSnapshot | None) -> str:
        if publisher is None or publisher.latency is None:
            return "capture to Kafka: nothing measured yet"
        quantiles = publisher.latency
        return (
            f"capture to Kafka p50 {quantiles.p50:.0f} p95 {quantiles.p95:.0f} "
            f"p99 {quantiles.p99:.0f} ms of {self._budget_ms:.0f} ms"
        )

    def _dropped(self, now: Observation) -> str:
        fresh: Counter[DropReason] = Counter()
        for gone in self._ledgers.keys() - now.desired:
            del self._ledgers[gone]
        for status in now.cameras:
            epoch, earlier = self._ledgers.get(status.id, (status.epoch, None))
            fresh.update(_since(earlier if epoch == status.epoch else None, status.ledger))
            self._ledgers[status.id] = (status.epoch, status.ledger)
        reasons = ", ".join(f"{reason.value} {count}" for reason, count in fresh.most_common() if count)
        return f"dropped {fresh.total()}" + (f" ({reasons})" if reasons else "")


def _cameras(now: Observation) -> str:
    """Return counts of sources and of blocked cameras, separately: a camera may be live and blocked at once."""
    live = sum(status.state == "live" for status in now.cameras)
    troubles = Counter(status.blocked.trouble for status in now.cameras if status.blocked is not None)
    blocked = ", ".join(f"service {trouble} for {count}" for trouble, count in troubles.most_common())
    return f"cameras {live}/{len(now.desired)} live" + (f", {troubles.total()} blocked ({blocked})" if blocked else "")


def _quarantine(publisher: PublisherSnapshot | None) -> list[str]:
    """Return what is in quarantine, as long as anything is."""
    return [publisher.quarantine_trouble] if publisher is not None and publisher.quarantined else []


def _since(earlier: LedgerSnapshot | None, now: LedgerSnapshot) -> dict[DropReason, int]:
    return {reason: count - (earlier.dropped[reason] if earlier else 0) for reason, count in now.dropped.items()}
