"""PublisherSnapshot: the publisher's accounts, read at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.core.channel import Channel
from app.core.quantiles import Quantiles
from app.evidence.rows import EvidenceAccounts
from app.publisher.spool.outbox import OutboxAccounts


@dataclass(frozen=True)
class ChannelSnapshot:
    """One reading of what goes to another topic than the events."""

    accounts: OutboxAccounts = field(default_factory=OutboxAccounts)
    trouble: str = ""
    """Why its records cannot be delivered now; empty while they can."""


@dataclass(frozen=True)
class EvidenceSnapshot:
    """One reading of the evidence of incidents."""

    accounts: EvidenceAccounts = field(default_factory=EvidenceAccounts)
    oldest_s: float = 0.0
    """Age of the oldest piece that is spooled, in seconds; 0 where none is."""
    trouble: str = ""
    """Why evidence is not stored, or was lost in the last minutes, in a sentence each; empty: neither."""


@dataclass(frozen=True)
class PublisherSnapshot:
    """One consistent reading; ``accepted = published + spooled + quarantined + discarded`` always holds."""

    accepted: int
    """Events answered with a receipt, in the life of the spool."""
    published: int
    """Events that the topic has."""
    spooled: int
    """Events that wait for Kafka."""
    quarantined: int
    """Events that Kafka refused for good, set aside."""
    discarded: int
    """Events that are not to be published: empty ones, or all while Kafka is off; and what was destroyed on disk."""
    destroyed: int
    """Of the discarded: lost with a damaged spool."""
    spool_bytes: int
    oldest_s: float
    """Age of the oldest event that waits, in seconds; 0 where none does."""
    in_flight: int
    """Events being committed."""
    failed: int
    """Events that could not be committed; the same event may have succeeded later."""
    out_of_order: int
    repeated: int
    breaches: int
    """Events acknowledged later than the budget."""
    by_camera: Mapping[str, int]
    """Events published since the publisher's start, by camera; one idle for an hour is left out."""
    latency: Quantiles | None
    """Capture to acknowledgement over the last events that waited out no outage, in milliseconds; ``None`` before the
    first."""
    trouble: str = ""
    """Why events cannot be committed or delivered now; empty while they can."""
    broker_warning: str = ""
    """What is wrong with some of Kafka's addresses although events reach it; empty where nothing is known."""
    refusal: str = ""
    """Why the newest of the quarantined events was refused; empty where none is."""
    away: tuple[int, ...] = ()
    """Numbers of the publisher's shards that did not answer; their part of every number is missing here."""

    channels: Mapping[Channel, ChannelSnapshot] = field(default_factory=dict)
    """What goes to the other topics, where they are not turned off; none of it is in the numbers of the events."""
    evidence: EvidenceSnapshot = field(default_factory=EvidenceSnapshot)
    """Pictures and clips of incidents; none of it is in the numbers of the events."""

    @property
    def quarantine_trouble(self) -> str:
        """What is in quarantine and why, in one sentence; empty where nothing is."""
        if not self.quarantined:
            return ""
        events = "1 event is in quarantine" if self.quarantined == 1 else f"{self.quarantined} events are in quarantine"
        why = f"{', the newest' if self.quarantined > 1 else ''}: {self.refusal}" if self.refusal else ""
        return f"{events}{why} ('sightline quarantine list' shows what was set aside)"
