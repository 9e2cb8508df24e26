"""What goes into the spool and comes out of it: one frozen class a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from app.core.channel import DETECTIONS, Channel
from app.publisher.spool.analysis import Analysed, JudgedFrame
from app.publisher.spool.outbox import OutboxAccounts, WaitingRecord


@dataclass(frozen=True)
class SpoolOptions:
    """Where a spool is, and how large and how careful."""

    folder: Path
    max_bytes: int = 1 << 30
    synchronous: Literal["normal", "full"] = "normal"


@dataclass(frozen=True)
class Arrival:
    """An event to be committed."""

    event_id: str
    camera_id: str
    epoch: int
    sequence: int
    body: bytes
    """The event's stored form; empty: it is accepted and counted, but not to be published."""
    at_ns: int
    frame: JudgedFrame | None = None
    """What the analysis takes; the event's stored form is then what comes of that, and ``body`` counts for nothing."""


@dataclass(frozen=True)
class Committed:
    """An event that is durable."""

    id: int
    """Under which it waits for Kafka; 0: it does not wait."""
    analysed: Analysed | None = None
    """What came of its frame; ``None`` where it came without one."""
    records: tuple[WaitingRecord, ...] = ()
    """What waits for other topics."""


@dataclass(frozen=True)
class LeftOver:
    """What a publisher finds in its spool."""

    order_keys: Sequence[OrderKey]
    """Each camera's last committed frame."""
    cameras: Sequence[str]
    """Those of which events wait."""
    last_id: int
    """The highest id of an event that waits."""
    records: Sequence[tuple[Channel, str]]
    """Channel and camera of the records that wait for other topics."""
    last_record_id: int
    analysed: Sequence[str]
    """Cameras of which something is known: it may have to end."""


@dataclass(frozen=True)
class Waiting:
    """An event that waits for Kafka."""

    id: int
    """Rising in the order of commit."""
    event_id: str
    camera_id: str
    stored_at_ns: int
    body: bytes


@dataclass(frozen=True)
class Refusal:
    """An event or record that Kafka refuses for good, and why."""

    id: int
    reason: str
    at_ns: int
    channel: Channel | None = None
    """``None``: it is an event."""


@dataclass(frozen=True)
class Delivery:
    """An event or record that its topic has."""

    id: int
    event_id: str
    at_ns: int
    channel: Channel | None = None
    """``None``: it is an event."""


@dataclass(frozen=True)
class Quarantined:
    """An event or record that was set aside."""

    event_id: str
    """Or the record's id."""
    camera_id: str
    at_ns: int
    reason: str
    bytes: int
    channel: str = DETECTIONS


@dataclass(frozen=True)
class SpoolAccounts:
    """One reading of the spool's own numbers; ``accepted = published + spooled + quarantined + discarded``."""

    accepted: int
    published: int
    discarded: int
    """Not to be published; or destroyed on disk, which ``destroyed`` counts as well."""
    quarantined: int
    spooled: int
    bytes: int
    """Of what is spooled."""
    oldest_at_ns: int | None
    """When the oldest of them was committed."""
    destroyed: int
    """Of the discarded: lost with a damaged file."""
    refusal: str = ""
    """Why the newest of the quarantined events was refused; empty where none is."""
    channels: Mapping[str, OutboxAccounts] = field(default_factory=dict)
    """The ledgers of the other topics."""

    @property
    def balanced(self) -> bool:
        """Whether every accepted event is in exactly one place."""
        return self.accepted == self.published + self.spooled + self.quarantined + self.discarded


@dataclass(frozen=True)
class OrderKey:
    """The last frame of a camera that was committed."""

    camera_id: str
    epoch: int
    sequence: int
