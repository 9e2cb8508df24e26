"""TopicFollower: reads the topic as it grows, without a consumer group, so it leaves no trace at the broker."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from kafka import KafkaConsumer, TopicPartition, errors

from app.errors import DeliveryUnavailable
from app.publisher.kafka.connection import client_options, missing, no_broker, translate
from app.publisher.kafka.topic import Right
from app.settings.connections import KafkaSettings

_POLL_MS = 250
_REFRESH_S = 30.0
"""How often new partitions are looked up."""
_POSITION_MS = 5_000
"""How long the constructor may wait to learn where a partition ends."""
SILENCE_S = 30.0
"""How long :meth:`TopicFollower.until_now` waits for the next records."""
_DENIED = (errors.AuthorizationError, errors.SaslAuthenticationFailedError)


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
    key: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()


class TopicFollower:
    """Yields what is written to the topic, from now on, from its beginning, or from a time."""

    def __init__(
        self,
        settings: KafkaSettings,
        bootstrap: Sequence[str],
        *,
        from_beginning: bool = False,
        since_ms: int | None = None,
    ) -> None:
        """Connect.

        Args:
            settings: names the topic, and how to connect.
            bootstrap: ``host:port`` of brokers.
            from_beginning: start with the oldest record kept, rather than with the next.
            since_ms: start with the first record of this time or a later one, in milliseconds since 1970 UTC; the time
                of a record is its capture time.

        Raises:
            DeliveryUnavailable: no broker answers, or the topic is not there.
        """
        self._settings = settings
        self._from_beginning = from_beginning
        self._since_ms = since_ms
        self._assigned: set[int] = set()
        self._refresh_at = 0.0
        self._stopped = threading.Event()
        try:
            self._consumer: Any = KafkaConsumer(
                **client_options(settings, bootstrap),
                client_id="sightline-events",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest" if from_beginning else "latest",
                allow_auto_create_topics=False,
                metrics_enabled=False,
                metadata_max_age_ms=int(_REFRESH_S * 1000),
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no connection
            raise DeliveryUnavailable(f"Kafka cannot be read: {no_broker(settings, bootstrap, error)}") from None
        try:
            self._assign()
        except errors.KafkaError as error:
            self.close()
            raise translate(error, settings, Right.READ) from None
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[ReceivedEvent]:
        """Yield events until stopped; a broker that goes away is waited for.

        Raises:
            DeliveryUnavailable: Kafka denies reading the topic.
        """
        while not self._stopped.is_set():
            yield from self.poll()

    def poll(self, timeout_ms: int = _POLL_MS) -> list[ReceivedEvent]:
        """Return what has come, waiting for at most ``timeout_ms`` where nothing has.

        Events of one camera come in their order on the topic; between cameras the capture time decides.

        Raises:
            DeliveryUnavailable: Kafka denies reading the topic.
        """
        try:
            if time.monotonic() >= self._refresh_at:
                self._assign()
            polled = self._consumer.poll(timeout_ms=timeout_ms)
        except _DENIED as error:
            raise translate(error, self._settings, Right.READ) from None
        except errors.KafkaError:
            self._stopped.wait(timeout_ms / 1000)  # it reconnects by itself
            return []
        merged = heapq.merge(*polled.values(), key=lambda record: record.timestamp)
        # The embedded broker does not look times up, and begins with the oldest; a record may have no time (-1).
        since_ms = -1 if self._since_ms is None else self._since_ms
        return [_received(record) for record in merged if record.timestamp >= since_ms]

    def until_now(self) -> Iterator[ReceivedEvent]:
        """Yield the records that the topic has now; those captured later are left out.

        The embedded broker reports an end that is some records too low, so what follows the end is read too, until
        nothing comes, or only what was captured since.

        Raises:
            DeliveryUnavailable: Kafka denies reading the topic, or gives nothing for ``SILENCE_S``.
        """
        now_ms, heard = time.time() * 1000, time.monotonic()
        try:
            parts = sorted(self._consumer.assignment())
            ends: dict[TopicPartition, int] = self._consumer.end_offsets(parts)
            while True:
                at_end = all(self._consumer.position(part, timeout_ms=_POSITION_MS) >= ends[part] for part in parts)
                received = self.poll()
                yield from (one for one in received if one.timestamp_ms <= now_ms)
                if at_end and all(one.timestamp_ms > now_ms for one in received):
                    return
                if received:
                    heard = time.monotonic()
                elif time.monotonic() - heard > SILENCE_S:
                    raise DeliveryUnavailable(f"Kafka gives no more of topic {self._settings.topic!r}")
        except errors.KafkaError as error:
            raise translate(error, self._settings, Right.READ) from None

    def stop(self) -> None:
        """End the iteration, at the latest after one wait; may be called from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Disconnect."""
        self._stopped.set()
        self._consumer.close(autocommit=False, timeout_ms=1_000)

    def __enter__(self) -> TopicFollower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _assign(self) -> None:
        """Take all partitions, also those that were added since; the new ones are read from their start."""
        self._refresh_at = time.monotonic() + _REFRESH_S
        topic = self._settings.topic
        known = self._consumer.partitions_for_topic(topic)
        if not known and not self._assigned:
            raise missing(topic)
        fresh = set(known or ()) - self._assigned
        if not fresh:
            return
        first = not self._assigned
        self._assigned |= fresh
        self._consumer.assign([TopicPartition(topic, number) for number in sorted(self._assigned)])
        added = [TopicPartition(topic, number) for number in sorted(fresh)]
        if first and self._since_ms is not None:
            self._seek_to_time(added, self._since_ms)
        elif self._from_beginning or not first:
            self._consumer.seek_to_beginning(*added)
        else:
            self._consumer.seek_to_end(*added)
            for partition in added:  # now, not at the first poll: what is written in between must be read
                self._consumer.position(partition, timeout_ms=_POSITION_MS)

    def _seek_to_time(self, parts: Sequence[TopicPartition], since_ms: int) -> None:
        found = self._consumer.offsets_for_times(dict.fromkeys(parts, since_ms))
        for part in parts:
            if found.get(part) is None:  # all of its records are older
                self._consumer.seek_to_end(part)
            else:
                self._consumer.seek(part, found[part].offset)


def _received(record: Any) -> ReceivedEvent:
    return ReceivedEvent(
        camera_id=(record.key or b"").decode(errors="replace"),
        value=record.value or b"",
        timestamp_ms=record.timestamp,
        received_at=time.time(),
        partition=record.partition,
        offset=record.offset,
        key=record.key or b"",
        headers=tuple(record.headers or ()),
    )
