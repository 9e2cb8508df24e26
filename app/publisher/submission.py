"""Submission and Receipt: an event that is to be committed, and the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.core.event import DetectionEvent, WeakDetection
from app.errors import SightlineError
from app.publisher.spool.analysis import JudgedFrame
from app.publisher.spool.rows import Arrival


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

    def arrival(self, at_ns: int, *, published: bool) -> Arrival:
        """Return what the spool takes.

        Args:
            at_ns: now, nanoseconds since 1970 UTC.
            published: whether the event is to go to Kafka.
        """
        event = self.event
        frame = JudgedFrame(event, self.weak, self.tracked, published, self.due_at_ns, self.picture)
        return Arrival(event.event_id, event.camera_id, self.epoch, self.sequence, b"", at_ns, frame)


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


Answer = Receipt | SightlineError
"""What an event gets: it is durable, or why it is not."""
