"""CameraQueue: what waits of one camera on its way to one topic."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from app.core.backoff import Backoff
from app.core.event import DetectionEvent
from app.publisher.spool.outbox import OutboxRecord, WaitingRecord


@dataclass
class Pending:
    """A committed event or record that waits for Kafka."""

    id: int
    stored_at_ns: int
    event_id: str
    """Or the record's id."""
    event: DetectionEvent | None
    """``None`` where its stored form cannot be read, or it is a record of another topic."""
    due_at_ns: int | None = None
    """See :class:`~app.publisher.publisher.Submission`."""
    tried: bool = False
    old: bool = False
    """A previous publisher committed it."""
    record: OutboxRecord | None = None
    """For another topic."""

    @classmethod
    def of(cls, waiting: WaitingRecord) -> Pending:
        """Return a record of another topic that waits."""
        return cls(waiting.id, waiting.stored_at_ns, waiting.record.record_id, None, record=waiting.record)


@dataclass(frozen=True)
class Sent:
    """An event that was handed over."""

    pending: Pending
    outcome: asyncio.Future[object]
    spool_s: float
    began: float
    """When, in monotonic seconds."""


@dataclass
class CameraQueue:
    """What waits of one camera."""

    backoff: Backoff
    waiting: deque[Pending] = field(default_factory=deque)
    sent: deque[Sent] = field(default_factory=deque)
    failed: list[Pending] = field(default_factory=list)
    """To be sent again, in this order, before what waits."""
    cut_back: bool = False
    """One event at a time: the last outcome was an error."""
    paused: asyncio.TimerHandle | None = None
    read_up_to: int = 0
    """The highest id that came into memory."""
    on_disk: bool = False
    """More may wait on disk, beyond ``read_up_to``."""
    reading: asyncio.Task[None] | None = None
    published: int = 0
    used_at: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing of it waits."""
        return not (self.waiting or self.sent or self.failed or self.on_disk)
