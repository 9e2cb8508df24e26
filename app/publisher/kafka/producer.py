"""The producer of kafka-python, made and ended; its idempotence survives a refused record.

kafka-python 3.0.12 takes every error that is not retriable for the end of the producer: it fails each later record,
and those of other partitions in flight, with that same error (``TransactionManager.classify_batch_error``). Here a
refusal fails the records that the broker names, and nothing else; the partition goes on in a new epoch of the producer,
as in the Java client (``TransactionManager.handleFailedBatch``). Read for 3.0.12; a test holds it against Apache Kafka.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaProducer, errors
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import ProducerIdAndEpoch

from app.errors import BatchRefused, DeliveryError
from app.publisher.kafka.connection import client_options
from app.publisher.kafka.produce_errors import PRODUCE_ERRORS, Verdict, refusal
from app.settings.connections import KafkaSettings

REQUEST_TIMEOUT_MS = 4_000
"""A broker that has not answered by then is asked again."""
DELIVERY_TIMEOUT_MS = 7_000
"""A record that is not acknowledged by then has failed: one request and a retry."""
METADATA_TIMEOUT_MS = 2_000
"""How long the hand-over may wait to learn the topic's partitions."""
_END_S = 5.0
"""What the client's thread may take to end: it may be in a request."""
_LAST_EPOCH = 32_767
"""An epoch is a 16-bit number; after the last one another producer id is asked for."""


def make_producer(settings: KafkaSettings, bootstrap: Sequence[str]) -> Any:
    """Return a producer that is connected and knows the topic's partitions; to be ended by :func:`end_producer`.

    Raises:
        Exception: no broker answers, or it does not know the topic; of many kinds.
    """
    producer = KafkaProducer(
        **client_options(settings, bootstrap),
        client_id="sightline",
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_block_ms=METADATA_TIMEOUT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )
    # The constructor accepts no sender; its thread runs already, and has had no record yet.
    producer._sender.__class__ = _RefusingSender
    try:
        producer.partitions_for(settings.topic)  # so that the first record need not wait for it
    except BaseException:
        end_producer(producer)
        raise
    return producer


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


class _RefusingSender(Sender):  # type: ignore[misc]  # the library has no types
    """The library's sender, which knows that a refusal concerns records, and not the producer."""

    def _dispatch_error(self, batch: Any, exception: Any, partition_response: Any) -> None:
        refused = _verdict(type(exception)) is Verdict.REFUSED and partition_response is not None
        if not refused:
            super()._dispatch_error(batch, exception, partition_response)
            return
        # Before the batch fails: whoever sends again at once must be in the new epoch.
        self._begin_epoch(batch)
        if batch.complete_exceptionally(exception, _outcomes(batch.record_count, partition_response)):
            self._maybe_remove_from_inflight_batches(batch)
            self._accumulator.deallocate(batch)
        self._accumulator.muted.discard(batch.topic_partition)

    def _begin_epoch(self, batch: Any) -> None:
        """Begin the numbering of every partition anew: the refused batch has left a gap in its partition's.

        Giving the batch's numbers to the next one would be no help: where an earlier try of it was written all the
        same, the broker would take the next batch for a repeat, and drop it.
        """
        transactions = self._transaction_manager
        with transactions._lock:
            current = transactions.producer_id_and_epoch
            if not current.match(batch) or transactions.has_fatal_error() or transactions.is_bumping_epoch():
                return  # it was begun already since the batch was sent
            if current.epoch >= _LAST_EPOCH:
                transactions.bump_producer_id_and_epoch()
                return
            transactions.set_producer_id_and_epoch(ProducerIdAndEpoch(current.producer_id, current.epoch + 1))
            transactions._sequence_numbers.clear()
            transactions._last_acked_offset.clear()

    def _can_retry(self, batch: Any, error_cls: Any) -> bool:
        """Return whether a batch is sent again as it is.

        One that was sent in an earlier epoch of this producer id may be: nothing of its partition was sent since, as a
        partition has one batch in flight, and the batch goes before those that wait.
        """
        return (
            _verdict(error_cls) is Verdict.RETRIED
            and batch.final_state is None
            and not batch.has_reached_delivery_timeout(self._accumulator.delivery_timeout_ms)
            and self._transaction_manager.has_producer_id(batch.producer_id)
        )

    def _can_split(self, batch: Any, error_cls: Any) -> bool:
        """Never split: the library numbers the parts as the batch was, which may make one pass for a repeat."""
        return False


def _verdict(kind: Any) -> Verdict:
    """Return what a class of the client's errors means: by its code, where a broker answered it to Produce."""
    known = PRODUCE_ERRORS.get(kind.errno) if issubclass(kind, errors.BrokerResponseError) else None
    if known is not None:
        return known.verdict
    return Verdict.RETRIED if issubclass(kind, errors.RetriableError) else Verdict.FATAL


def _outcomes(count: int, response: Any) -> Callable[[int], DeliveryError]:
    """Return the function that maps the index of a record of a refused batch to its error."""
    named = {one.batch_index: one.batch_index_error_message for one in response.record_errors or ()}
    if count == 1:
        named = {0: named.get(0)}
    message = response.error_message or ""

    def outcome(index: int) -> DeliveryError:
        if index in named:
            return refusal(response.error_code, named[index] or message)
        return BatchRefused("another event of its batch was refused", named=bool(named))

    return outcome
