"""Whether events could be delivered, asked before a start."""

from __future__ import annotations

from app.errors import TopicMissing
from app.settings.connections import KafkaSettings


def check_broker(settings: KafkaSettings) -> str:
    """Return one sentence that names where events would go.

    Raises:
        BrokerUnavailable: there is no embedded broker for this machine.
        DeliveryUnavailable: no broker answers, or the topic is not there and may not be created.
    """
    if settings.embedded:
        from app.publisher.kafka.embedded_broker import EmbeddedBroker

        with EmbeddedBroker() as broker:
            return f"the embedded broker works (on {broker.address}); it keeps events in memory only"
    from app.publisher.kafka.connection import ensure_topic
    from app.publisher.kafka.diagnosis import diagnose

    brokers = ", ".join(settings.bootstrap_servers)
    try:
        partitions = ensure_topic(settings, settings.bootstrap_servers, create=False)
    except TopicMissing:
        if not settings.create_topic:
            raise
        return f"{brokers} answers, topic {settings.topic} will be created"
    # One address is enough to start with; a dead one among several would be noticed when it is needed.
    faults = diagnose(settings, settings.bootstrap_servers) if len(settings.bootstrap_servers) > 1 else ""
    text = f"{brokers} answers, topic {settings.topic} has {partitions} partitions"
    return f"{text}; but {faults}" if faults else text
