"""The producer of kafka-python, made and ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer, errors

from app.publisher.kafka.connection import client_options
from app.publisher.kafka.ordered_sender import MAX_IN_FLIGHT, OrderedSender
from app.publisher.kafka.partitioner import PinnedPartitioner
from app.publisher.kafka.timeouts import Timeouts
from app.settings.connections import KafkaSettings

BATCH_BYTES = 64 * 1024
"""Records that wait for one partition travel together up to this size; about 90 events of six objects."""
_END_S = 5.0
"""What the client's thread may take to end: it may be in a request."""
_POLL_S = 0.005
"""How often it is looked whether everything was answered, where partitions were added."""


def make_producer(settings: KafkaSettings, bootstrap: Sequence[str], timeouts: Timeouts) -> Any:
    """Return a producer that is connected and knows the topic's partitions; to be ended by :func:`end_producer`.

    Once a record of it has failed for another reason than a refusal, no later record is written.

    Raises:
        Exception: no broker answers, or it does not know the topic; of many kinds.
    """
    partitioner = PinnedPartitioner()
    producer = KafkaProducer(
        **client_options(settings, bootstrap, timeouts.bootstrap_ms),
        client_id="sightline",
        acks="all",
        enable_idempotence=True,
        max_in_flight_requests_per_connection=MAX_IN_FLIGHT,
        batch_size=BATCH_BYTES,
        linger_ms=0,
        partitioner=partitioner,
        max_block_ms=timeouts.metadata_ms,
        metadata_max_age_ms=timeouts.refresh_ms,
        request_timeout_ms=timeouts.request_ms,
        delivery_timeout_ms=timeouts.delivery_ms,
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )
    # The constructor accepts no sender; its thread runs already, and has had no record yet.
    OrderedSender.take_over(producer._sender)
    try:
        partitioner.count = len(producer.partitions_for(settings.topic))  # so that the first record need not wait
    except BaseException:
        end_producer(producer)
        raise
    return producer


def adopt_partitions(producer: Any, topic: str, timeouts: Timeouts) -> None:
    """Use the partitions that the topic has now; where they are others than before, wait for what is on its way.

    A camera may change its partition. Were some of its events not yet written to the old one, they might have to be
    sent again, after later ones.

    Raises:
        KafkaTimeoutError: what is on its way was not answered in time.
    """
    known = producer._metadata.partitions_for_topic(topic)
    partitioner = producer.config["partitioner"]
    if not known or len(known) == partitioner.count:
        return
    end = time.monotonic() + timeouts.give_up_s
    while producer._accumulator.has_incomplete:
        if time.monotonic() > end:
            raise errors.KafkaTimeoutError("the topic has other partitions now, and the old ones do not answer")
        time.sleep(_POLL_S)
    partitioner.count = len(known)


def end_producer(producer: Any) -> None:
    """End a producer at once; what it still holds fails, and it sends nothing any more.

    ``KafkaProducer.close`` of 3.0.12 raises while records are unsent, and leaves its thread to go on sending them. So
    its thread is stopped first, by the method that ``close`` itself would use.
    """
    sender = producer._sender
    if sender.is_alive():
        sender.force_close()
        sender.join(_END_S)
    with contextlib.suppress(Exception):
        producer.close(0)
