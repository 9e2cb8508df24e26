"""KafkaSink: records in, the broker's acknowledgement out.

Delivery guarantee: at least once. ``send`` returns only after all in-sync replicas have the record; when it raises
:class:`DeliveryUnavailable` the record may still have been written, or be written later. Records of one key keep the
order in which ``send`` was called until one is refused or fails: whoever needs it beyond that waits for each. The
producer is idempotent, so the client's own retries write no duplicates; what is sent again after an error may. After a
failure the producer is ended before another is made, so nothing that an old one still held is acknowledged behind the
back of a new one; only an unacknowledged record, already on its way to the broker, can appear late.

A refusal concerns the records that the broker names, and no other: those that were in a batch with one are sent again.
Where the broker refuses a batch and names none, each of its records is sent alone, which shows whose fault it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app.errors import BatchRefused, DeliveryError, DeliveryRefused, DeliveryUnavailable
from app.publisher.kafka.connection import ensure_topic, translate, translate_invalid
from app.publisher.kafka.producer import DELIVERY_TIMEOUT_MS, end_producer, make_producer
from app.publisher.record import EventRecord
from app.settings.connections import KafkaSettings
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

GIVE_UP_S = 9.5
"""When a try to send ends whatever the client does: longer than it may wait for metadata and the acknowledgement."""
MAX_UNACKNOWLEDGED = 1_000
"""Records handed over and not acknowledged; kafka-python itself would take any number."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0


@dataclass(frozen=True)
class Acknowledgement:
    """The broker has the record."""

    partition: int
    offset: int
    at_ns: int
    """When it was told us, nanoseconds since 1970 UTC."""


class KafkaSink:
    """Sends records to one topic; connects by itself, and again whenever the connection is lost for good."""

    def __init__(self, settings: KafkaSettings, find_brokers: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Prepare a sink; nothing is connected yet.

        Args:
            settings: the topic, and how its brokers are spoken to.
            find_brokers: tells where they are; asked before each connection, as the embedded one may move.
        """
        self._settings = settings
        self._find_brokers = find_brokers
        self._producer: Any = None
        self._trouble = "waiting for the embedded broker to start" if settings.embedded else _waiting_for("Kafka")
        self._connecting: asyncio.Task[None] | None = None
        self._failures = 0
        self._away = TroubleLog(logger, "Kafka is away", unit="tries")
        self._was_connected = False
        self._made: Any = None
        self._lock = threading.Lock()
        self._unacknowledged: set[asyncio.Future[Acknowledgement]] = set()
        # One thread hands over, so the order of `send` calls is the order of records; it may have to wait for
        # metadata, which must not hold up the event loop.
        self._hand = ThreadPoolExecutor(1, thread_name_prefix="kafka-hand")
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether records are taken now."""
        return self._producer is not None

    @property
    def trouble(self) -> str:
        """Why records are not taken now; empty while they are."""
        return "" if self.connected else self._trouble

    def start(self) -> None:
        """Begin to connect, and go on trying; never waits."""
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def send(self, record: EventRecord) -> Acknowledgement:
        """Send a record and wait for the acknowledgement of all in-sync replicas.

        Raises:
            DeliveryRefused: Kafka refuses this record for good.
            DeliveryUnavailable: Kafka is away, or did not acknowledge in time.
        """
        producer = self._producer
        if producer is None or self._closed:
            self.start()
            raise DeliveryUnavailable(self._trouble)
        if len(self._unacknowledged) >= MAX_UNACKNOWLEDGED:
            raise DeliveryUnavailable(f"{MAX_UNACKNOWLEDGED} events wait for Kafka already")
        alone = False
        while True:
            try:
                acknowledgement = await self._try(producer, record, alone)
            except BatchRefused as error:
                alone = alone or not error.named
            else:
                self._failures = 0
                return acknowledgement

    async def _try(self, producer: Any, record: EventRecord, alone: bool) -> Acknowledgement:
        """Hand a record over once, and wait for what becomes of it.

        Raises:
            DeliveryRefused: Kafka refuses this record for good.
            BatchRefused: it was not written for the sake of another one; the producer goes on.
            DeliveryUnavailable: Kafka is away, or did not acknowledge in time; the producer is given up.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Acknowledgement] = loop.create_future()
        self._unacknowledged.add(answer)
        answer.add_done_callback(self._unacknowledged.discard)
        hand_over = _hand_over_alone if alone else _hand_over
        loop.run_in_executor(self._hand, self._hand_on, hand_over, producer, record, answer, loop)
        try:
            return await asyncio.wait_for(answer, GIVE_UP_S)
        except (DeliveryRefused, BatchRefused):
            self._failures = 0  # Kafka answers, and takes records
            raise
        except asyncio.TimeoutError:
            unanswered = DeliveryUnavailable(f"Kafka did not acknowledge the event within {GIVE_UP_S:g} s")
            self._abandon(producer, str(unanswered))
            raise unanswered from None
        except DeliveryError as error:
            self._abandon(producer, str(error))
            raise

    async def close(self, timeout_s: float = 5.0) -> None:
        """Flush what was handed over, for at most ``timeout_s``, and disconnect.

        It does not promise that everything was acknowledged: what was not fails its ``send`` with
        :class:`DeliveryUnavailable`, and may have been written all the same.
        """
        with self._lock:
            self._closed, self._trouble = True, "the connection to Kafka was closed"
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._unacknowledged:
            await asyncio.wait(set(self._unacknowledged), timeout=timeout_s)
        self._producer = None
        if self._made is not None:
            await asyncio.to_thread(end_producer, self._made)
        self._hand.shutdown(wait=False, cancel_futures=True)
        for answer in tuple(self._unacknowledged):
            if not answer.done():
                answer.set_exception(DeliveryUnavailable(self._trouble))

    def _hand_on(
        self,
        hand_over: Callable[[Any, str, EventRecord], Any],
        producer: Any,
        record: EventRecord,
        answer: asyncio.Future[Acknowledgement],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Give the record to the client, in the one thread that does; its callbacks come from the client's thread."""

        def acknowledged(metadata: Any) -> None:
            got = Acknowledgement(metadata.partition, metadata.offset, time.time_ns())
            _tell(loop, answer, got)

        def failed(error: BaseException) -> None:
            told = translate(error, self._settings.topic)
            if self._producer is not producer and not isinstance(told, DeliveryRefused):
                told = DeliveryUnavailable(self._trouble)  # it was ended; the reason is that of its end
            _tell(loop, answer, told)

        if self._producer is not producer:
            # It was given up while the record waited for its turn; asking it would cost each record a time-out.
            failed(DeliveryUnavailable(self._trouble))
            return
        try:
            future = hand_over(producer, self._settings.topic, record)
        except Exception as error:  # noqa: BLE001 - the client raises many kinds; all are told to the sender
            failed(translate_invalid(error) or error)
            return
        future.add_callback(acknowledged)
        future.add_errback(failed)

    async def _connect(self, given_up: Any = None) -> None:
        if given_up is not None:
            await asyncio.to_thread(end_producer, given_up)
        while not self._closed:
            await asyncio.sleep(self._pause_s())
            try:
                bootstrap = await self._find_brokers()
                if not self._failures:
                    self._trouble = _waiting_for(f"Kafka on {', '.join(bootstrap)}")
                self._producer = await asyncio.to_thread(self._build, bootstrap)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed
                foreseen = isinstance(error, DeliveryError)
                self._trouble = str(translate(error, self._settings.topic))
                self._away.again(self._trouble, error=None if foreseen else error)
                self._failures += 1
            else:
                self._tell_connected(bootstrap)
                self._connecting = None
                return

    def _tell_connected(self, bootstrap: Sequence[str]) -> None:
        where = f"topic {self._settings.topic} on {', '.join(bootstrap)}"
        told = self._away.over(f"connected to Kafka again: {where}")
        if not told and not self._was_connected:
            logger.info("events go to %s", where)
        self._was_connected = True

    def _pause_s(self) -> float:
        """Give the wait before the next try: none at first, then doubling until an event is acknowledged."""
        if not self._failures:
            return 0.0
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10))
        return longest * random.uniform(0.5, 1.0)

    def _build(self, bootstrap: Sequence[str]) -> Any:
        """Make a producer; the constructor raises when no broker answers.

        Raises:
            DeliveryUnavailable: no broker answers, or the topic is not there.
        """
        create = self._settings.embedded or self._settings.create_topic
        ensure_topic(self._settings, bootstrap, create=create)
        try:
            producer = make_producer(self._settings, bootstrap)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no producer
            raise translate(error, self._settings.topic) from None
        with self._lock:
            if not self._closed:
                self._made = producer
                return producer
        end_producer(producer)  # the sink was closed meanwhile, and waits for no thread
        raise DeliveryUnavailable(self._trouble)

    def _abandon(self, producer: Any, reason: str) -> None:
        """Give a failed producer up: its session cannot tell any more what was written, so a new one is made."""
        if self._producer is not producer:
            return
        self._producer, self._trouble = None, reason
        if self._closed:
            return
        self._failures += 1
        self._away.again(reason)
        self._connecting = asyncio.get_running_loop().create_task(self._connect(producer))


def _waiting_for(whom: str) -> str:
    return f"waiting for the first answer of {whom}"


def _tell(
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[Acknowledgement],
    outcome: Acknowledgement | DeliveryError,
) -> None:
    def settle() -> None:
        if answer.done():
            return
        if isinstance(outcome, Acknowledgement):
            answer.set_result(outcome)
        else:
            answer.set_exception(outcome)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(settle)


def _hand_over(producer: Any, topic: str, record: EventRecord) -> Any:
    """Hand a record to the client; it may share a batch with others of its partition."""
    return producer.send(
        topic,
        value=record.value,
        key=record.key,
        headers=list(record.headers),
        timestamp_ms=record.timestamp_ms,
    )


def _hand_over_alone(producer: Any, topic: str, record: EventRecord) -> Any:
    """Hand a record to the client so that it has a batch to itself, and wait for what becomes of it.

    As the only thread that hands over waits, nothing joins it; and what was handed over before is settled first.
    """
    producer.flush(DELIVERY_TIMEOUT_MS / 1000)
    future = _hand_over(producer, topic, record)
    with contextlib.suppress(Exception):  # whoever sent the record is told by its callbacks
        future.get(DELIVERY_TIMEOUT_MS / 1000)
    return future
