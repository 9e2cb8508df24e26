"""Timeouts: how long the Kafka client of the publisher may take for each step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """How long the client may take, in milliseconds."""

    bootstrap_ms: int = 5_000
    """One try to reach a broker."""
    request_ms: int = 4_000
    """A broker that has not answered by then is asked again."""
    delivery_ms: int = 7_000
    """A record that is not acknowledged by then has failed: one request and a retry."""
    metadata_ms: int = 2_000
    """How long the hand-over may wait to learn the topic's partitions."""
    refresh_ms: int = 300_000
    """How old the client's knowledge of the topic may be: until then partitions that were added are not used."""

    @property
    def give_up_s(self) -> float:
        """When a record fails whatever the client does: longer than it may wait for metadata and acknowledgement."""
        return (self.metadata_ms + self.delivery_ms) / 1000 + 0.5
