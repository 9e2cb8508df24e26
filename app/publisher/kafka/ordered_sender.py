"""OrderedSender: kafka-python's sending thread; its idempotence survives a refused record, and its requests overlap.

kafka-python 3.0.12 takes every error that is not retriable for the end of the producer: it fails each later record,
and those of other partitions in flight, with that same error (``TransactionManager.classify_batch_error``). Here a
refusal fails the records that the broker names, and nothing else; the partition goes on in a new epoch of the producer,
as in the Java client (``TransactionManager.handleFailedBatch``).

kafka-python also waits for the answer to a partition's batch before it sends the next one (it mutes the partition).
Here up to five are on their way, which is what a broker remembers of a producer (``ProducerStateEntry``), and their
order holds nevertheless: see :class:`OrderedSender`. Read for 3.0.12; a test holds it against Apache Kafka.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import errors
from kafka.producer.producer_batch import ProducerBatch
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import ProducerIdAndEpoch
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from app.publisher.kafka.produce_errors import PRODUCE_ERRORS, Verdict, refusal

MAX_IN_FLIGHT = 5
"""Batches of one partition on their way; a broker recognises the repeats of a producer's last five."""
KNOWN_S = 60.0
"""How long after an acknowledgement the broker is sure to remember the producer; Kafka itself keeps it for a day."""
MISSING_S = 1.0
"""How long a topic that the broker does not know may be missing: longer than one that is being made is unknown."""
_LAST_EPOCH = 32_767
"""An epoch is a 16-bit number; after the last one another producer id is asked for."""
_WRITTEN = tuple(error.code for error in PRODUCE_ERRORS.values() if error.verdict is Verdict.WRITTEN)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)


@dataclass(frozen=True)
class _Returned:
    """What is to be sent again of a batch that was not written, or may not have been."""

    number: int
    """Of the batch, rising in the order of sending."""
    batches: tuple[Any, ...]
    gap: bool = False
    """The broker refused it: what was numbered after it cannot be sent as it is."""


@dataclass
class _Partition:
    """What is on its way to one partition."""

    in_flight: dict[Any, int] = field(default_factory=dict)
    """The number of each batch that is not answered."""
    returned: list[_Returned] = field(default_factory=list)
    known_as: tuple[int, int] | None = None
    """Producer id and epoch of the last acknowledged batch; ``None`` after an error."""
    known_at: float = 0.0
    waits_for: Any = None
    """The error for which batches were sent again last, since the last acknowledgement."""
    waits_since: float = 0.0

    def unsettled_before(self, number: int) -> bool:
        """Return whether a batch that was sent earlier is not written for sure."""
        return any(one < number for one in self.in_flight.values()) or any(one.number < number for one in self.returned)


class OrderedSender(Sender):  # type: ignore[misc]  # the library has no types
    """The library's sender, which keeps the order of a partition with several batches on their way.

    The broker takes a producer's batches of a partition in the order of their sequence numbers only: where one was not
    written, those behind it are answered with OUT_OF_ORDER_SEQUENCE_NUMBER. This holds while the broker knows the
    producer; of an unknown one it takes any number (``ProducerAppendInfo.checkSequence``). Therefore:

    - a second batch is sent only while the last acknowledgement is recent and of the present epoch, and so are all that
      are on their way; else one at a time;
    - after an error nothing more is sent to the partition until all that is on its way was answered; then what was not
      written goes first, in its order, one at a time until one is acknowledged;
    - a refusal begins a new epoch: the refused records leave a gap in the numbers, so that what was sent behind them is
      numbered anew. Of a batch whose records the broker does not name, the halves are tried;
    - any other error fails everything that the producer holds, and it sends nothing more.
    """

    @classmethod
    def take_over(cls, sender: Sender) -> None:
        """Make the sender of a producer, which has had no record yet, one of these."""
        sender._partitions = {}
        sender._sent = 0
        sender._woken = False
        sender.config["guarantee_message_order"] = False  # it would mute and unmute partitions by itself
        sender.__class__ = cls

    def run_once(self) -> None:
        """Look once for what there is to send, send it, and wait for answers or to be woken."""
        self._woken = False  # before it is looked for what there is to send: what comes later wakes it again
        super().run_once()

    def wakeup(self) -> None:
        """Have it look for what there is to send."""
        if not self._woken:  # the library wakes it for each record of a full batch
            self._woken = True
            super().wakeup()

    def _send_producer_data(self, now: float | None = None) -> Any:
        self._fail_if_missing()
        if self._transaction_manager.has_fatal_error():
            return 0
        self._accumulator.muted = {
            topic_partition
            for topic_partition, partition in self._partitions.items()
            if (partition.in_flight or partition.returned) and len(partition.in_flight) >= self._allowed(partition)
        }
        return super()._send_producer_data(now)

    def _fail_if_missing(self) -> None:
        """Fail where the topic is not there any more; its records would wait until their time has passed."""
        for topic_partition, partition in self._partitions.items():
            if (
                isinstance(partition.waits_for, errors.UnknownTopicOrPartitionError)
                and time.monotonic() - partition.waits_since > MISSING_S
                and self._metadata.partitions_for_topic(topic_partition.topic) is None
            ):
                self._fail(partition.waits_for)
                return

    def _allowed(self, partition: _Partition) -> int:
        """Return how many batches may be on their way to a partition now."""
        if partition.returned:
            return 0
        current = self._transaction_manager.producer_id_and_epoch
        known = (
            partition.known_as == (current.producer_id, current.epoch)
            and time.monotonic() - partition.known_at < KNOWN_S
            and all(current.match(batch) for batch in partition.in_flight)
        )
        return MAX_IN_FLIGHT if known else 1

    def _create_produce_requests(self, collated: Any) -> Any:
        if self._transaction_manager.has_fatal_error():
            return {}  # a batch has just failed; those that were drained with it have failed, too
        for batches in collated.values():
            for batch in batches:
                self._sent += 1
                self._partition(batch).in_flight[batch] = self._sent
        return super()._create_produce_requests(collated)

    def _complete_batch(self, batch: Any, partition_response: Any) -> None:
        if partition_response.error_code not in (0, *_WRITTEN):
            super()._complete_batch(batch, partition_response)  # it calls _dispatch_error
            return
        partition = self._partition(batch)
        partition.in_flight.pop(batch, None)
        super()._complete_batch(batch, partition_response)
        partition.known_as, partition.known_at = (batch.producer_id, batch.producer_epoch), time.monotonic()
        partition.waits_for = None
        self._send_again(batch.topic_partition, partition)

    def _dispatch_error(self, batch: Any, exception: Any, partition_response: Any) -> None:
        partition = self._partition(batch)
        number = partition.in_flight.pop(batch, None)
        self._maybe_remove_from_inflight_batches(batch)
        if batch.final_state is not None:
            return  # it has failed with the producer; this answer comes late
        kind = type(exception)
        if number is not None and partition_response is not None and _verdict(kind) is Verdict.REFUSED:
            self._begin_epoch(batch)
            partition.returned.append(
                _Returned(number, self._without_refused(batch, exception, partition_response), True)
            )
        elif number is not None and self._can_retry(batch, kind):
            if partition.waits_for is None:
                partition.waits_since = time.monotonic()
            partition.waits_for = exception
            partition.returned.append(_Returned(number, (batch,)))
        elif number is not None and self._is_behind(partition, number, kind):
            partition.returned.append(_Returned(number, (batch,)))
        else:
            self._fail(self._cause(batch, partition, exception))
            return
        if issubclass(kind, errors.InvalidMetadataError):
            self._metadata.request_update()
        self._send_again(batch.topic_partition, partition)

    def _cause(self, batch: Any, partition: _Partition, exception: Any) -> Any:
        """Return why a batch has failed: where its time has passed, what it waited for."""
        if not isinstance(exception, errors.KafkaTimeoutError):
            return exception
        if partition.waits_for is not None:
            return partition.waits_for
        if self._metadata.leader_for_partition(batch.topic_partition) in (None, -1):
            return errors.LeaderNotAvailableError(f"partition {batch.topic_partition.partition} has no leader")
        return exception

    def _can_retry(self, batch: Any, error_cls: Any) -> bool:
        """Return whether a batch is sent again as it is; also one that was sent in an earlier epoch of the producer."""
        return (
            _verdict(error_cls) is Verdict.RETRIED
            and not batch.has_reached_delivery_timeout(self._accumulator.delivery_timeout_ms)
            and self._transaction_manager.has_producer_id(batch.producer_id)
        )

    def _is_behind(self, partition: _Partition, number: int, kind: Any) -> bool:
        """Return whether a batch was not written because one before it was not."""
        return kind is errors.OutOfOrderSequenceNumberError and partition.unsettled_before(number)

    def _send_again(self, topic_partition: Any, partition: _Partition) -> None:
        """Queue what was not written before all that waits, once everything on its way was answered."""
        if not partition.returned or partition.in_flight:
            return
        queue: list[Any] = []
        gap = False
        for one in sorted(partition.returned, key=lambda returned: returned.number):
            for batch in one.batches:
                if one.gap:
                    queue.append(batch)
                elif gap:
                    queue += self._rebuild(batch, [range(batch.record_count)])
                else:
                    batch.retry()
                    queue.append(batch)
            gap = gap or one.gap
        partition.returned.clear()
        partition.known_as = None
        with self._accumulator._tp_lock(topic_partition):
            self._accumulator._batches[topic_partition].extendleft(reversed(queue))

    def _without_refused(self, batch: Any, exception: Any, response: Any) -> tuple[Any, ...]:
        """Fail the records that the broker refuses; return the others as new batches."""
        named = {one.batch_index: one.batch_index_error_message for one in response.record_errors or ()}
        count = batch.record_count
        if count == 1:
            named = {0: named.get(0)}
        elif isinstance(exception, _TOO_LARGE):
            # Records may be too large only together: smaller batches from now on.
            self._accumulator.config["batch_size"] = max(1, batch.records.size_in_bytes() // 2)
        message = response.error_message or ""
        for index in named:
            batch._record_futures[index].failure(refusal(response.error_code, named[index] or message))
        rest = [index for index in range(count) if index not in named]
        groups = [rest] if named else [rest[: count // 2], rest[count // 2 :]]
        return tuple(self._rebuild(batch, [group for group in groups if group]))

    def _rebuild(self, batch: Any, groups: Sequence[Sequence[int]]) -> list[Any]:
        """Return the records of a batch, by their indexes, as batches that are not numbered yet."""
        records = [record for part in MemoryRecords(batch.records.buffer()) for record in part]
        size = batch.records.size_in_bytes() + 16 * len(
            records
        )  # times are differences from the first, of 1 to 10 bytes
        built = []
        for group in groups:
            part = ProducerBatch(batch.topic_partition, MemoryRecordsBuilder(2, 0, size))
            part.created = batch.created
            for index in group:
                record, future = records[index], batch._record_futures[index]
                appended = part.records.append(record.timestamp, record.key, record.value, record.headers)
                future.rebind(part.produce_future, appended.offset)
                part._record_futures.append(future)
            self._accumulator._incomplete.add(part)
            built.append(part)
        self._accumulator.deallocate(batch)
        return built

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

    def _fail(self, exception: Any) -> None:
        """Fail everything that the producer holds: a later record must not be written without an earlier one."""
        if not self._transaction_manager.has_fatal_error():
            self._transaction_manager.transition_to_fatal_error(exception)
        self._accumulator.abort_batches(exception)

    def _partition(self, batch: Any) -> _Partition:
        found: _Partition = self._partitions.setdefault(batch.topic_partition, _Partition())
        return found


def _verdict(kind: Any) -> Verdict:
    """Return what a class of the client's errors means: by its code, where a broker answered it to Produce."""
    known = PRODUCE_ERRORS.get(kind.errno) if issubclass(kind, errors.BrokerResponseError) else None
    if known is not None:
        return known.verdict
    return Verdict.RETRIED if issubclass(kind, errors.RetriableError) else Verdict.FATAL
