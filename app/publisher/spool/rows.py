"""What goes into the spool and comes out of it: one frozen class a message."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.publisher.spool.analysis import Analysed, JudgedFrame


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
    """An event that Kafka refuses for good, and why."""

    id: int
    reason: str
    at_ns: int


@dataclass(frozen=True)
class Delivery:
    """An event that the topic has."""

    id: int
    event_id: str
    at_ns: int


@dataclass(frozen=True)
class Quarantined:
    """An event that was set aside."""

    event_id: str
    camera_id: str
    at_ns: int
    reason: str
    bytes: int


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
