"""KafkaSink: records in, the broker's acknowledgement out.

Delivery guarantee: at least once. ``send`` returns only after all in-sync replicas have the record; when it raises
:class:`DeliveryUnavailable` the record may still have been written, or be written later. Records of one key keep the
order in which ``send`` was called. The producer is idempotent, so the client's own retries write no duplicates; what is
sent again after an error may.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer

from app.errors import DeliveryError, DeliveryRefused, DeliveryUnavailable
from app.events.connection import client_options, ensure_topic, translate
from app.events.event import EventRecord
from app.settings import KafkaSettings

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 4_000
"""A broker that has not answered by then is asked again."""
DELIVERY_TIMEOUT_MS = 8_000
"""A record that is not acknowledged by then has failed: below the 10 s that a ``Detect`` call may last."""
METADATA_TIMEOUT_MS = 2_000
"""How long the hand-over may wait to learn the topic's partitions."""
MAX_UNACKNOWLEDGED = 1_000
"""Records handed over and not acknowledged; kafka-python itself would take any number."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


@dataclass(frozen=True)
class Acknowledgement:
    """The broker has the record."""

    partition: int
    offset: int
    at_ns: int
    """When it was told us, nanoseconds since 1970 UTC."""


class KafkaSink:
    """Sends records to one topic; connects by itself, and again whenever the connection is lost for good."""

    def __init__(self, settings: KafkaSettings, bootstrap: Sequence[str]) -> None:
        self._settings = settings
        self._bootstrap = tuple(bootstrap)
        self._producer: Any = None
        self._trouble = "the connection to Kafka is being made"
        self._connecting: asyncio.Task[None] | None = None
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
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Acknowledgement] = loop.create_future()
        self._unacknowledged.add(answer)
        answer.add_done_callback(self._unacknowledged.discard)
        loop.run_in_executor(self._hand, self._hand_over, producer, record, answer, loop)
        try:
            return await answer
        except DeliveryRefused:
            raise
        except DeliveryError as error:
            self._abandon(producer, str(error))
            raise

    async def close(self, timeout_s: float = 5.0) -> None:
        """Flush what was handed over, for at most ``timeout_s``, and disconnect.

        It does not promise that everything was acknowledged: what was not fails its ``send``.
        """
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._unacknowledged:
            await asyncio.wait(set(self._unacknowledged), timeout=timeout_s)
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await asyncio.to_thread(producer.close, timeout_s)
        self._hand.shutdown(wait=False, cancel_futures=True)

    def _hand_over(
        self,
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
            _tell(loop, answer, translate(error, self._settings.topic))

        try:
            future = producer.send(
                self._settings.topic,
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                timestamp_ms=record.timestamp_ms,
            )
        except Exception as error:  # noqa: BLE001 - the client raises many kinds; all are told to the sender
            failed(error)
            return
        future.add_callback(acknowledged)
        future.add_errback(failed)

    async def _connect(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._closed:
            try:
                self._producer = await asyncio.to_thread(self._build)
            except DeliveryError as error:
                if str(error) != self._trouble:
                    logger.warning("%s; trying on", error)
                self._trouble = str(error)
            else:
                logger.info("events go to topic %s on %s", self._settings.topic, ", ".join(self._bootstrap))
                self._connecting = None
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(_LONGEST_PAUSE_S, pause * 2)

    def _build(self) -> Any:
        """Make a producer; the constructor raises when no broker answers.

        Raises:
            DeliveryUnavailable: no broker answers, or the topic is not there.
        """
        create = self._settings.embedded or self._settings.create_topic
        ensure_topic(self._settings, self._bootstrap, create=create)
        try:
            return KafkaProducer(
                **client_options(self._settings, self._bootstrap),
                client_id="sightline",
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                max_block_ms=METADATA_TIMEOUT_MS,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                reconnect_backoff_max_ms=1_000,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no producer
            raise translate(error, self._settings.topic) from None

    def _abandon(self, producer: Any, reason: str) -> None:
        """Give a failed producer up: its session cannot tell any more what was written, so a new one is made."""
        if self._producer is not producer:
            return
        self._producer, self._trouble = None, reason
        logger.warning("connecting to Kafka anew: %s", reason)
        threading.Thread(target=_close_quietly, args=(producer,), name="kafka-close", daemon=True).start()
        self.start()


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


def _close_quietly(producer: Any) -> None:
    with contextlib.suppress(Exception):
        producer.close(0)
