"""Checks of a topic that is not written to yet: the rights to write, and settings that would cost events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from kafka import KafkaProducer, errors
from kafka.protocol.producer import InitProducerIdRequest
from kafka.record.default_records import DefaultRecordBatchBuilder

from app.errors import DeliveryUnavailable
from app.publisher.kafka.connection import admin_client, create_topic, denied, explain, missing
from app.publisher.kafka.diagnosis import find_faults
from app.publisher.kafka.preflight import BrokerReport, Needs
from app.publisher.kafka.topic import Right, Topic, TopicConfig, find_topic, principal_of
from app.publisher.kafka.troubles import Trouble
from app.publisher.record import crowded_record
from app.settings.connections import KafkaSettings
from app.settings.duration import show_duration

PATIENCE_S = 10.0
"""How long a cluster that has just started may take until it gives out a producer id."""
_PAUSE_S = 0.2
_CLIENT_BYTES: int = KafkaProducer.DEFAULT_CONFIG["max_request_size"]
"""The largest record that the client sends."""


def check_topic(settings: KafkaSettings, needs: Needs, patience_s: float = PATIENCE_S) -> BrokerReport:
    """Obtain a producer id, check the rights to write, and read the topic's settings; nothing is written.

    A topic that is to be created is asked for with ``validate_only``.

    Args:
        settings: where the topic is, and its name.
        needs: what the events will ask of it.
        patience_s: how long a cluster may take until it gives out a producer id.

    Raises:
        DeliveryUnavailable: no broker answers, or one cannot be reached at the address that it advertises; the topic is
            not there and may not be created, or a right is missing.
    """
    bootstrap = settings.bootstrap_servers
    brokers, right = ", ".join(bootstrap), Right.DESCRIBE
    with admin_client(settings, bootstrap) as admin:
        try:
            topic = find_topic(admin, settings.topic)
            if topic is None and settings.create_topic:
                right = Right.CREATE
                create_topic(admin, settings, validate_only=True)
            elif topic is None:
                raise missing(settings.topic)
            elif topic.rights is not None and Right.WRITE not in topic.rights:
                raise denied(settings, Right.WRITE, f"the topic {topic.name!r}")
            right = Right.WRITE
            _obtain_producer_id(admin, patience_s)
        except Exception as error:  # noqa: BLE001 - an answer that the client cannot read raises anything
            raise explain(error, settings, bootstrap, right) from None
    # One address is enough to start with, and a dead one among several would be noticed when it is needed. A broker
    # that cannot be reached where it says keeps the events of the partitions that it leads from being written.
    faults = find_faults(settings, bootstrap)
    if Trouble.ADVERTISED in faults.values():
        raise DeliveryUnavailable("; ".join(faults))
    warnings = tuple(faults)
    if topic is None:
        return BrokerReport(f"{brokers} answers, topic {settings.topic} will be created", warnings)
    where = f"{brokers} answers, topic {topic.name} has {topic.partitions} partitions and may be written to"
    return BrokerReport(where, (*warnings, *topic_warnings(topic, settings, needs)))


def topic_warnings(topic: Topic, settings: KafkaSettings, needs: Needs) -> Iterator[str]:
    """Yield one sentence for each property of a topic that would cost events."""
    if topic.rights is None:
        yield Trouble.UNKNOWN_RIGHTS.say(principal=principal_of(settings), topic=topic.name)
    if topic.replicas == 1:
        yield Trouble.ONE_REPLICA.say(topic=topic.name)
    needed = crowded_bytes(needs.detections)
    if needed > _CLIENT_BYTES:
        yield Trouble.LARGE_RECORDS.say(count=needs.detections, needed=needed, limit=_CLIENT_BYTES)
    if topic.config is None:
        yield Trouble.UNREADABLE_TOPIC.say(topic=topic.name, why=topic.unreadable)
    else:
        yield from _config_warnings(topic, topic.config, needs, needed)


def crowded_bytes(detections: int) -> int:
    """Return the size of a batch with nothing but the event of a crowded frame, bytes."""
    record = crowded_record(detections)
    size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, list(record.headers))
    return size


def _config_warnings(topic: Topic, config: TopicConfig, needs: Needs, needed: int) -> Iterator[str]:
    if config.compacted:
        yield Trouble.COMPACTED.say(topic=topic.name, policy=config.cleanup_policy)
    if config.max_message_bytes is not None and config.max_message_bytes < needed:
        facts = {"limit": config.max_message_bytes, "count": needs.detections, "needed": needed}
        yield Trouble.SMALL_RECORDS.say(topic=topic.name, **facts)
    bridged = show_duration(needs.bridged)
    if config.retention is not None and config.retention < needs.bridged:
        yield Trouble.SHORT_RETENTION.say(topic=topic.name, limit=show_duration(config.retention), bridged=bridged)
    if config.oldest_timestamp is not None and config.oldest_timestamp < needs.bridged:
        limit = show_duration(config.oldest_timestamp)
        yield Trouble.SHORT_TIMESTAMPS.say(topic=topic.name, limit=limit, bridged=bridged)
    if config.min_insync_replicas == 1 and topic.replicas > 1:
        yield Trouble.ONE_IN_SYNC.say(topic=topic.name)


def _obtain_producer_id(admin: Any, patience_s: float) -> None:
    """Ask for a producer id, as an idempotent producer does before its first record.

    Raises:
        kafka.errors.KafkaError: there is none; ClusterAuthorizationFailedError: no right to write to any topic.
    """
    end = time.monotonic() + patience_s
    request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=10_000)
    while True:
        error = errors.for_code(admin._manager.run(admin._manager.send, request).error_code)
        if error is errors.NoError:
            return
        if not issubclass(error, errors.RetriableError):
            raise error
        if time.monotonic() > end:
            raise DeliveryUnavailable(Trouble.NO_PRODUCER_ID.say(seconds=patience_s, why=error.__name__))
        time.sleep(_PAUSE_S)
