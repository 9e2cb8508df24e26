"""KafkaSink: records in, the broker's acknowledgement out.

Delivery guarantee: at least once, and in order. ``send`` returns at once; its future is done when all in-sync replicas
have the record. When it fails with :class:`DeliveryUnavailable` the record may still have been written, or be written
later. Records of one key are written in the order of the calls of ``send``; where one fails with
:class:`DeliveryUnavailable`, so do all that are under way, and a later one was written only if the earlier one was. So
whoever sends again what failed, in its order, keeps the order. The producer is idempotent, so the client's own retries
write no duplicates; what is sent again after an error may.

After a failure the producer is ended before another is made, so nothing that an old one still held is acknowledged
behind the back of a new one; only an unacknowledged record, already on its way to the broker, can appear late.

A refusal concerns the records that the broker names, and no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app.core.backoff import Backoff
from app.errors import DeliveryError, DeliveryRefused, DeliveryUnavailable
from app.publisher.kafka.address_watch import AddressWatch
from app.publisher.kafka.connection import ensure_topic, translate, translate_invalid
from app.publisher.kafka.diagnosis import first_to_answer
from app.publisher.kafka.producer import adopt_partitions, end_producer, make_producer
from app.publisher.kafka.retention import Retention
from app.publisher.kafka.timeouts import Timeouts
from app.publisher.record import EventRecord
from app.settings.connections import KafkaSettings
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

MAX_UNACKNOWLEDGED = 5_000
"""Records handed over and not acknowledged; kafka-python itself would take any number."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_WATCH_S = 0.5
"""How often the age of the oldest unacknowledged record is checked."""


@dataclass(frozen=True)
class Acknowledgement:
    """The broker has the record."""

    partition: int
    offset: int
    at_ns: int
    """When the acknowledgement came, nanoseconds since 1970 UTC."""


Answer = asyncio.Future[Acknowledgement]


class KafkaSink:
    """Sends records to one topic; connects by itself, and again whenever the connection is lost for good."""

    def __init__(
        self,
        settings: KafkaSettings,
        find_brokers: Callable[[], Awaitable[Sequence[str]]],
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - it is frozen
        *,
        watches_addresses: bool = True,
    ) -> None:
        """Prepare a sink; nothing is connected yet.

        Args:
            settings: the topic, and how its brokers are reached.
            find_brokers: returns their addresses; called before each connection, as the embedded one may move.
            timeouts: how long the client may take.
            watches_addresses: whether each address is asked now and then; one sink a process is enough.
        """
        self._settings = settings
        self._timeouts = timeouts
        self._find_brokers = find_brokers
        self._producer: Any = None
        self._trouble = "waiting for the embedded broker to start" if settings.embedded else _waiting_for("Kafka")
        self._connecting: asyncio.Task[None] | None = None
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._outage = TroubleLog(logger, f"Kafka is away for topic {settings.topic}", unit="tries")
        self._was_connected = False
        self._addresses = AddressWatch(settings)
        self._watches_addresses = watches_addresses
        self._retention = Retention(None, "the topic")
        """As it was when the producer connected."""
        self._built: Any = None
        self._lock = threading.Lock()
        self._unacknowledged: dict[Answer, float] = {}
        """When each was handed over, by the event loop's clock; the oldest first."""
        self._watch: asyncio.TimerHandle | None = None
        self._outgoing: list[tuple[EventRecord, Answer]] = []
        self._settled: deque[tuple[Any, Answer, Acknowledgement | DeliveryError]] = deque()
        self._settling = False
        self._failed: Any = None
        """A producer to which a record could not be handed over; used in the thread that hands over."""
        # One thread hands over, so the order of `send` calls is the order of records; it may have to wait for
        # metadata, which must not hold up the event loop.
        self._send_thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-send")
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether records are taken now."""
        return self._producer is not None

    @property
    def trouble(self) -> str:
        """Why records are not taken now; empty while they are."""
        return "" if self.connected else self._trouble

    @property
    def warning(self) -> str:
        """What is wrong with some of the addresses although records are taken; empty: nothing is known."""
        return self._addresses.warning

    def start(self) -> None:
        """Begin to connect, and go on trying; never waits."""
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def send(self, record: EventRecord) -> Answer:
        """Send a record after those that were sent before; return at once.

        Returns:
            A future that is done when all in-sync replicas have the record. It fails with DeliveryRefused where Kafka
            refuses this record for good, and with DeliveryUnavailable where Kafka is away, or did not acknowledge in
            time.
        """
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        if self._producer is None or self._closed:
            self.start()
            answer.set_exception(DeliveryUnavailable(self._trouble))
        elif refusal := self._retention.refusal(record.timestamp_ms, time.time_ns() // 1_000_000):
            answer.set_exception(refusal)
        elif len(self._unacknowledged) >= MAX_UNACKNOWLEDGED:
            reason = f"{MAX_UNACKNOWLEDGED} events wait for Kafka already"
            answer.set_exception(DeliveryUnavailable(reason))
            # A later record might find room: then it would be written without this one.
            self._abandon(self._producer, reason)
        else:
            self._unacknowledged[answer] = loop.time()
            if not self._outgoing:
                loop.call_soon(self._hand_over, self._producer)
            self._outgoing.append((record, answer))
            if self._watch is None:
                self._watch = loop.call_later(_WATCH_S, self._check_age)
        return answer

    async def close(self, timeout_s: float = 5.0) -> None:
        """Flush what was handed over, for at most ``timeout_s``, and disconnect.

        It does not promise that everything was acknowledged: what was not fails with :class:`DeliveryUnavailable`, and
        may have been written all the same.
        """
        with self._lock:
            self._closed, self._trouble = True, "the connection to Kafka was closed"
        self._addresses.stop()
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._unacknowledged:
            await asyncio.wait(set(self._unacknowledged), timeout=timeout_s)
        self._producer = None
        if self._watch is not None:
            self._watch.cancel()
        if self._built is not None:
            await asyncio.to_thread(end_producer, self._built)
        self._send_thread.shutdown(wait=False, cancel_futures=True)
        self._fail_unacknowledged(self._trouble)

    def _hand_over(self, producer: Any) -> None:
        group, self._outgoing = self._outgoing, []
        loop = asyncio.get_running_loop()
        with contextlib.suppress(RuntimeError):  # the sink was closed meanwhile, and has failed them
            loop.run_in_executor(self._send_thread, self._send_group, producer, group, loop)

    def _send_group(
        self, producer: Any, group: Sequence[tuple[EventRecord, Answer]], loop: asyncio.AbstractEventLoop
    ) -> None:
        """Hand records to the client, in the one thread that does; its callbacks come from the client's thread."""
        for index, (record, answer) in enumerate(group):
            if self._producer is not producer or self._failed is producer:
                # It was given up while the record waited; asking it would cost each record a time-out.
                self._settle_soon(loop, producer, answer, DeliveryUnavailable(self._trouble))
                continue
            try:
                if index == 0:
                    adopt_partitions(producer, self._settings.topic, self._timeouts)
                future = producer.send(
                    self._settings.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    timestamp_ms=record.timestamp_ms,
                )
            except Exception as error:  # noqa: BLE001 - the client raises many kinds; the sender gets all of them
                outcome = translate_invalid(error) or self._translate(producer, error)
                if not isinstance(outcome, DeliveryRefused):
                    self._failed = producer  # no later record may be written without this one
                self._settle_soon(loop, producer, answer, outcome)
            else:
                future.add_callback(self._acknowledged, loop, producer, answer)
                future.add_errback(self._refused, loop, producer, answer)

    def _acknowledged(self, loop: asyncio.AbstractEventLoop, producer: Any, answer: Answer, metadata: Any) -> None:
        got = Acknowledgement(metadata.partition, metadata.offset, time.time_ns())
        self._settle_soon(loop, producer, answer, got)

    def _refused(self, loop: asyncio.AbstractEventLoop, producer: Any, answer: Answer, error: BaseException) -> None:
        self._settle_soon(loop, producer, answer, self._translate(producer, error))

    def _translate(self, producer: Any, error: BaseException) -> DeliveryError:
        translated = translate(error, self._settings)
        if self._producer is not producer and not isinstance(translated, DeliveryRefused):
            return DeliveryUnavailable(self._trouble)  # it was ended; the reason is that of its end
        return translated

    def _settle_soon(
        self, loop: asyncio.AbstractEventLoop, producer: Any, answer: Answer, outcome: Acknowledgement | DeliveryError
    ) -> None:
        """Have an answer given in the event loop; what comes together wakes it once."""
        self._settled.append((producer, answer, outcome))
        if not self._settling:
            self._settling = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._settling = False
        failure: tuple[Any, str] | None = None
        while self._settled:
            producer, answer, outcome = self._settled.popleft()
            if isinstance(outcome, (Acknowledgement, DeliveryRefused)):
                self._backoff.reset()  # Kafka answers, and takes records
                self._give(answer, outcome)
            elif failure is None:
                failure = (producer, str(outcome))
        if failure is not None:
            self._abandon(*failure)

    def _give(self, answer: Answer, outcome: Acknowledgement | DeliveryError) -> None:
        self._unacknowledged.pop(answer, None)
        if answer.done():
            return
        if isinstance(outcome, Acknowledgement):
            answer.set_result(outcome)
        else:
            answer.set_exception(outcome)

    def _fail_unacknowledged(self, reason: str) -> None:
        for answer in tuple(self._unacknowledged):
            self._give(answer, DeliveryUnavailable(reason))

    def _check_age(self) -> None:
        """Abandon the producer where the oldest record has waited for too long."""
        self._watch = None
        if not self._unacknowledged:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - next(iter(self._unacknowledged.values())) > self._timeouts.give_up_s:
            self._abandon(self._producer, f"Kafka did not acknowledge the event within {self._timeouts.give_up_s:g} s")
        else:
            self._watch = loop.call_later(_WATCH_S, self._check_age)

    async def _connect(self, given_up: Any = None) -> None:
        if given_up is not None:
            await asyncio.to_thread(end_producer, given_up)
        while not self._closed:
            await asyncio.sleep(self._backoff.delay_s)
            try:
                bootstrap = await self._find_brokers()
                if not self._backoff.failures:
                    self._trouble = _waiting_for(f"Kafka on {', '.join(bootstrap)}")
                self._producer = await asyncio.to_thread(self._build, bootstrap)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed
                foreseen = isinstance(error, DeliveryError)
                self._trouble = str(translate(error, self._settings))
                self._outage.report(self._trouble, error=None if foreseen else error)
                self._backoff.next()
            else:
                self._report_connected(bootstrap)
                if self._watches_addresses:
                    self._addresses.start(bootstrap)
                self._connecting = None
                return

    def _report_connected(self, bootstrap: Sequence[str]) -> None:
        where = f"topic {self._settings.topic} on {', '.join(bootstrap)}"
        reported = self._outage.resolve(f"connected to Kafka again: {where}")
        if not reported and not self._was_connected:
            logger.info("events go to %s", where)
        self._was_connected = True

    def _build(self, bootstrap: Sequence[str]) -> Any:
        """Make a producer; the constructor raises when no broker answers.

        Raises:
            DeliveryUnavailable: no broker answers, or the topic is not there.
        """
        create = self._settings.embedded or self._settings.create_topic
        bootstrap = first_to_answer(self._settings, bootstrap)
        topic = ensure_topic(self._settings, bootstrap, create=create, bootstrap_ms=self._timeouts.bootstrap_ms)
        self._retention = Retention.of(topic, self._settings)
        try:
            producer = make_producer(self._settings, bootstrap, self._timeouts)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no producer
            raise translate(error, self._settings) from None
        with self._lock:
            if not self._closed:
                self._built = producer
                return producer
        end_producer(producer)  # the sink was closed meanwhile, and waits for no thread
        raise DeliveryUnavailable(self._trouble)

    def _abandon(self, producer: Any, reason: str) -> None:
        """Replace a failed producer, of which it is not known what was written; all that it holds fails."""
        if self._producer is not producer or producer is None:
            return
        self._producer, self._trouble = None, reason
        self._addresses.stop()
        self._fail_unacknowledged(reason)
        if self._closed:
            return
        self._backoff.next()
        self._outage.report(reason)
        self._connecting = asyncio.get_running_loop().create_task(self._connect(producer))


def _waiting_for(whom: str) -> str:
    return f"waiting for the first answer of {whom}"
