"""What goes into the spool and comes out of it: one frozen class a message."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from app.core.channel import DETECTIONS, Channel


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
    """Empty: the event is accepted and counted, but not to be published."""
    at_ns: int


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
class OutboxRecord:
    """A record for another topic, to be committed with the frame that it is of."""

    channel: Channel
    record_id: str
    """Its ``ce_id``."""
    camera_id: str
    time_ms: int
    """Capture time of the frame in milliseconds since 1970 UTC."""
    body: bytes
    """As it is published: JSON."""


@dataclass(frozen=True)
class WaitingRecord:
    """A record that waits for its topic."""

    id: int
    """Rising in the order of commit."""
    stored_at_ns: int
    record: OutboxRecord


@dataclass(frozen=True)
class OutboxAccounts:
    """One reading of the numbers of a channel; ``accepted = published + waiting + quarantined + discarded``."""

    accepted: int = 0
    published: int = 0
    waiting: int = 0
    quarantined: int = 0
    discarded: int = 0
    """Given up, as too many waited; or dropped from quarantine; or destroyed on disk."""
    bytes: int = 0
    """Of what waits."""

    @property
    def balanced(self) -> bool:
        """Whether every record is in exactly one place."""
        return self.accepted == self.published + self.waiting + self.quarantined + self.discarded

    def __add__(self, other: OutboxAccounts) -> OutboxAccounts:
        """Return the sum of two shards' numbers."""
        return OutboxAccounts(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


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
