"""Whether events could be delivered, asked before a start; it leaves no record behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from app.settings.connections import KafkaSettings


@dataclass(frozen=True)
class Needs:
    """What the events will ask of the topic."""

    detections: int
    """Of the most crowded frame."""
    bridged: timedelta
    """How long an outage may be that the spool bridges."""


@dataclass(frozen=True)
class BrokerReport:
    """What was found; nothing of it prevents a start."""

    where: str
    """Where events would go."""
    warnings: tuple[str, ...] = ()
    """One sentence each."""


def check_broker(settings: KafkaSettings, needs: Needs) -> BrokerReport:
    """Check that events can be written to the topic, and what the topic's settings will do to them.

    Raises:
        BrokerUnavailable: there is no embedded broker for this machine.
        DeliveryUnavailable: no broker answers, the topic is not there and may not be created, or a right is missing.
    """
    if settings.embedded:
        from app.publisher.kafka.embedded_broker import EmbeddedBroker

        with EmbeddedBroker() as broker:
            return BrokerReport(f"the embedded broker works (on {broker.address}); it keeps events in memory only")
    from app.publisher.kafka.topic_check import check_topic  # it loads the Kafka client

    return check_topic(settings, needs)
