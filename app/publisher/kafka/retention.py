"""Retention: how old an event may be when it is sent; what is older Kafka would take, and delete at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from app.errors import DeliveryRefused
from app.publisher.kafka.topic import Topic
from app.publisher.kafka.troubles import Trouble
from app.settings.connections import KafkaSettings
from app.settings.duration import show_duration


@dataclass(frozen=True)
class Retention:
    """How long events are kept, by their capture time."""

    limit: timedelta | None
    """``None``: for ever, or by another time than the event's."""
    keeper: str
    """Who says so, as the subject of a sentence."""

    @classmethod
    def of(cls, topic: Topic, settings: KafkaSettings) -> Retention:
        """Return the topic's own, or the settings' where it cannot be read."""
        if topic.config is None:
            return cls(settings.max_event_age, f"the topic {topic.name!r} by kafka.max_event_age")
        return cls(topic.config.retention, f"the topic {topic.name!r} by its retention.ms")

    def refusal(self, timestamp_ms: int, now_ms: int) -> DeliveryRefused | None:
        """Return the error of an event that would be deleted at once; ``None``: it is young enough."""
        age = timedelta(milliseconds=now_ms - timestamp_ms)
        if self.limit is None or age <= self.limit:
            return None
        facts = {"age": show_duration(age), "keeper": self.keeper, "keeps": show_duration(self.limit)}
        return DeliveryRefused(Trouble.EXPIRED.say(**facts))
