"""TopicFollower: reads the topic as it grows, without a consumer group, so it leaves no trace at the broker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from kafka import KafkaConsumer, TopicPartition, errors

from app.errors import DeliveryUnavailable
from app.events.connection import TopicMissing, client_options, translate
from app.settings import KafkaSettings

_POLL_MS = 250
_LOOK_AGAIN_S = 30.0


@dataclass(frozen=True)
class ReceivedEvent:
    """One record of the topic."""

    camera_id: str
    """Its key."""
    value: bytes
    """The event's JSON."""
    timestamp_ms: int
    """Capture time."""
    received_at: float
    """Seconds since 1970 UTC."""
    partition: int
    offset: int


class TopicFollower:
    """Yields what is written to the topic, from now on or from its beginning."""

    def __init__(self, settings: KafkaSettings, bootstrap: Sequence[str], *, from_beginning: bool = False) -> None:
        """Connect.

        Raises:
            DeliveryUnavailable: no broker answers, or the topic is not there.
        """
        self._settings = settings
        self._from_beginning = from_beginning
        self._assigned: set[int] = set()
        self._look_at = 0.0
        try:
            self._consumer: Any = KafkaConsumer(
                **client_options(settings, bootstrap),
                client_id="sightline-events",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest" if from_beginning else "latest",
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no connection
            brokers = ", ".join(bootstrap)
            raise DeliveryUnavailable(
                f"no Kafka broker answers at {brokers}: {translate(error, settings.topic)}"
            ) from None
        try:
            self._assign()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[ReceivedEvent]:
        """Yield events for ever; a broker that goes away is waited for."""
        while True:
            yield from self.poll()

    def poll(self, timeout_ms: int = _POLL_MS) -> list[ReceivedEvent]:
        """Give what has come, waiting for at most ``timeout_ms`` where nothing has."""
        if time.monotonic() >= self._look_at:
            self._assign()
        try:
            polled = self._consumer.poll(timeout_ms=timeout_ms)
        except errors.KafkaError:
            return []  # it reconnects by itself
        records = [record for batch in polled.values() for record in batch]
        return [_received(record) for record in sorted(records, key=lambda record: record.timestamp)]

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def __enter__(self) -> TopicFollower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _assign(self) -> None:
        """Take all partitions, also those that were added since; the new ones are read from their start."""
        self._look_at = time.monotonic() + _LOOK_AGAIN_S
        topic = self._settings.topic
        known = self._consumer.partitions_for_topic(topic)
        if not known and not self._assigned:
            raise TopicMissing(topic)
        fresh = set(known or ()) - self._assigned
        if not fresh:
            return
        first = not self._assigned
        self._assigned |= fresh
        self._consumer.assign([TopicPartition(topic, number) for number in sorted(self._assigned)])
        places = [TopicPartition(topic, number) for number in sorted(fresh)]
        if self._from_beginning or not first:
            self._consumer.seek_to_beginning(*places)
        else:
            self._consumer.seek_to_end(*places)


def _received(record: Any) -> ReceivedEvent:
    return ReceivedEvent(
        camera_id=(record.key or b"").decode(errors="replace"),
        value=record.value or b"",
        timestamp_ms=record.timestamp,
        received_at=time.time(),
        partition=record.partition,
        offset=record.offset,
    )
