"""KafkaPublisher and BrokerActor: the actors that Serve keeps alive beside the ingress."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from app.errors import SightlineError
from app.publisher import (
    EventPublisher,
    Receipt,
    Shard,
    ShardReading,
    Spool,
    SpoolOptions,
    SpoolWriter,
    Submission,
    open_shard,
)
from app.publisher.kafka.embedded_broker import ANNOUNCEMENT, EmbeddedBroker
from app.publisher.kafka.sink import KafkaSink
from app.publisher.telemetry import PublisherTelemetry
from app.settings.connections import KafkaSettings
from app.settings.settings import SpoolSettings
from deployments.logs import log_beside_serve
from deployments.metrics import RayMeter

logger = logging.getLogger("ray.serve")

BROKER = "broker"
"""Name of the embedded broker among the ingress's actors."""
PUBLISHER = "publisher"
"""Name of the publisher among the ingress's actors; of several it is what their names begin with."""
BROKER_WATCH_S = 0.5
"""How often the embedded broker is checked."""
BROKER_LOOKUP_S = 0.25
"""Pause between two tries to find the embedded broker."""


@dataclass(frozen=True)
class PublisherOptions:
    """What the publisher needs to know."""

    kafka: KafkaSettings
    spool: SpoolSettings
    budget_ms: int
    shard: Shard
    """Which of the publishers it is."""


def publisher_name(shard: Shard) -> str:
    """Return a publisher's name among the ingress's actors: ``publisher``, or ``publisher-2-of-4``."""
    return PUBLISHER if shard.alone else f"{PUBLISHER}-{shard.part}"


class Sealed(str):
    """Carries options to an actor as they are, and shows nothing of them.

    Serve takes the arguments of a deployment's actors through pydantic, which turns dataclasses and models into plain
    dictionaries, and shows them in its status and on the dashboard as JSON; a string passes untouched, and this one's
    text says nothing.
    """

    options: PublisherOptions

    def __new__(cls, options: PublisherOptions) -> Sealed:
        """Seal options."""
        made = super().__new__(cls, "(sealed)")
        made.options = options
        return made

    def __reduce__(self) -> tuple[type[Sealed], tuple[PublisherOptions]]:
        return Sealed, (self.options,)

    def __eq__(self, other: object) -> bool:
        # The controller compares what it deployed with what is asked, ten times a second: without this every comparison
        # would be a new deployment.
        return isinstance(other, Sealed) and self.options == other.options

    def __hash__(self) -> int:
        return hash((self.options.budget_ms, self.options.shard))

    def __ne__(self, other: object) -> bool:
        return not self == other


@ray.remote
class BrokerActor:
    """The embedded broker's owner: its process ends with this actor, however that ends."""

    def __init__(self, topic: str) -> None:
        """Start the broker.

        Raises:
            BrokerUnavailable: it did not come up.
        """
        log_beside_serve(BROKER)
        self._broker = EmbeddedBroker(announcement=ANNOUNCEMENT).start()
        threading.Thread(target=self._exit_with_broker, name="broker-watch", daemon=True).start()
        print(
            f"sightline: KAFKA_BOOTSTRAP_SERVERS is not set: an embedded broker on {self._broker.address} keeps the "
            f"events of topic {topic} in memory only. Follow them with: sightline events",
            flush=True,
        )

    def address(self) -> str:
        """Return ``host:port``."""
        return self._broker.address

    def _exit_with_broker(self) -> None:
        """Exit when the broker has died: without that Serve would take this actor for healthy for ever."""
        while self._broker.alive:
            time.sleep(BROKER_WATCH_S)
        logger.error("the embedded broker died, and its events with it; another is started")
        os._exit(1)


@ray.remote
class KafkaPublisher:
    """The one that commits events, or one of several that share the cameras; a shell around ``app.publisher``.

    Serve ends it without notice (``ray.kill``). That loses no event that was answered: ``OK`` follows the commit to
    the spool, and the next publisher on this node sends what Kafka has not.
    """

    def __init__(self, sealed: Sealed) -> None:
        self._options = sealed.options
        shard = self._options.shard
        log_beside_serve(PUBLISHER, None if shard.alone else shard.part)
        self._publisher: EventPublisher | None = None
        self._starting = asyncio.Lock()

    async def publish(self, submissions: Sequence[Submission]) -> list[Receipt | SightlineError]:
        """Commit events; each gets a receipt or its error."""
        publisher = await self._started()
        settled = await asyncio.gather(
            *(publisher.publish(submission) for submission in submissions), return_exceptions=True
        )
        answers: list[Receipt | SightlineError] = []
        for outcome in settled:
            if isinstance(outcome, (Receipt, SightlineError)):
                answers.append(outcome)
            else:
                raise outcome
        return answers

    async def set_budget(self, budget_ms: int) -> None:
        """Count breaches of another budget from now on."""
        (await self._started()).set_budget(budget_ms)

    async def reading(self, seconds: float | None = None) -> ShardReading:
        """Read the accounts; with ``seconds`` the latencies are those of the events acknowledged since so long ago."""
        return (await self._started()).reading(seconds)

    async def _started(self) -> EventPublisher:
        """Start at the first call: an actor's constructor runs outside its event loop."""
        async with self._starting:
            if self._publisher is None:
                self._publisher = await self._start()
            return self._publisher

    async def _start(self) -> EventPublisher:
        kafka, shard = self._options.kafka, self._options.shard
        sink = KafkaSink(kafka, self._bootstrap) if kafka.enabled else None
        if sink is not None:
            sink.start()
        publisher = EventPublisher(
            sink,
            SpoolWriter(self._open_spool),
            budget_ms=self._options.budget_ms,
            observer=PublisherTelemetry(RayMeter(), shard=None if shard.alone else shard.number),
            publish_empty=kafka.publish_empty,
        )
        publisher.start()
        return publisher

    def _open_spool(self) -> Spool:
        spool = self._options.spool
        options = SpoolOptions(spool.dir.expanduser(), spool.max_bytes, spool.synchronous)
        return open_shard(options, self._options.shard)

    async def _bootstrap(self) -> Sequence[str]:
        return self._options.kafka.bootstrap_servers or (await self._find_broker(),)

    async def _find_broker(self) -> str:
        """Find the broker of the same ingress: Serve names both by one pattern, whose last part is the actor's own."""
        own = ray.get_runtime_context().get_actor_name()
        assert own is not None
        name = own.removesuffix(publisher_name(self._options.shard)) + BROKER
        while True:
            with contextlib.suppress(ValueError, RayError):
                broker: Any = ray.get_actor(name, namespace=ray.get_runtime_context().namespace)
                address: str = await broker.address.remote()
                return address
            await asyncio.sleep(BROKER_LOOKUP_S)
