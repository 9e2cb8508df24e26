"""KafkaPublisher and BrokerActor: the actors that Serve keeps alive beside the ingress."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from app.errors import SightlineError
from app.events import (
    ANNOUNCEMENT,
    EmbeddedBroker,
    EventPublisher,
    KafkaSink,
    PublisherSnapshot,
    Receipt,
    Submission,
)
from app.settings import KafkaSettings
from app.telemetry import PublisherTelemetry

logger = logging.getLogger("ray.serve")

BROKER = "broker"
"""Name of the embedded broker among the ingress's actors."""
PUBLISHER = "publisher"
"""Name of the publisher among the ingress's actors."""
BROKER_LOOKUP_S = 0.25
"""Pause between two tries to find the embedded broker."""


@dataclass(frozen=True)
class PublisherOptions:
    """What the publisher needs to know."""

    kafka: KafkaSettings
    budget_ms: int


class Sealed:
    """Carries options to an actor as they are.

    Serve takes the arguments of a deployment's actors through pydantic, which turns dataclasses and models into plain
    dictionaries; an ordinary object passes untouched.
    """

    def __init__(self, options: PublisherOptions) -> None:
        self.options = options

    def __eq__(self, other: object) -> bool:
        # The controller compares what it deployed with what is asked, ten times a second: without this every look
        # would be a new deployment.
        return isinstance(other, Sealed) and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.options.budget_ms)


@ray.remote
class BrokerActor:
    """The embedded broker's owner: its process ends with this actor, however that ends."""

    def __init__(self, topic: str) -> None:
        """Start the broker.

        Raises:
            BrokerUnavailable: it did not come up.
        """
        self._broker = EmbeddedBroker(announcement=ANNOUNCEMENT).start()
        print(
            f"sightline: KAFKA_BOOTSTRAP_SERVERS is not set: an embedded broker on {self._broker.address} keeps the "
            f"events of topic {topic} in memory only. Follow them with: sightline events",
            flush=True,
        )

    def address(self) -> str:
        """Give ``host:port``."""
        return self._broker.address

    def __ray_shutdown__(self) -> None:
        """Take the announcement back; the process would end by itself."""
        self._broker.stop()


@ray.remote
class KafkaPublisher:
    """The one that commits events; a shell around ``app.events``."""

    def __init__(self, sealed: Sealed) -> None:
        self._options = sealed.options
        self._sink: KafkaSink | None = None
        self._publisher: EventPublisher | None = None
        self._starting = asyncio.Lock()

    async def publish(self, submissions: Sequence[Submission]) -> list[Receipt | SightlineError]:
        """Commit events; each gets a receipt, or what befell it."""
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

    async def snapshot(self) -> PublisherSnapshot:
        """Read the accounts."""
        publisher = await self._started()
        return publisher.snapshot(self._sink.trouble if self._sink else "")

    async def __ray_shutdown__(self) -> None:
        """Flush what was handed over."""
        if self._publisher is not None:
            await self._publisher.drain(2.0)
        if self._sink is not None:
            await self._sink.close(2.0)

    async def _started(self) -> EventPublisher:
        """Start at the first call: an actor's constructor runs outside its event loop."""
        async with self._starting:
            if self._publisher is None:
                self._publisher = await self._start()
            return self._publisher

    async def _start(self) -> EventPublisher:
        kafka = self._options.kafka
        if kafka.enabled:
            bootstrap = kafka.bootstrap_servers or (await self._find_broker(),)
            self._sink = KafkaSink(kafka, bootstrap)
            self._sink.start()
        return EventPublisher(
            self._sink,
            budget_ms=self._options.budget_ms,
            observer=PublisherTelemetry(),
            publish_empty=kafka.publish_empty,
        )

    async def _find_broker(self) -> str:
        """Find the broker beside us: Serve names both by one pattern, whose last part is the actor's own."""
        ours = ray.get_runtime_context().get_actor_name()
        assert ours is not None
        name = ours.removesuffix(PUBLISHER) + BROKER
        while True:
            with contextlib.suppress(ValueError, RayError):
                broker: Any = ray.get_actor(name, namespace=ray.get_runtime_context().namespace)
                address: str = await broker.address.remote()
                return address
            await asyncio.sleep(BROKER_LOOKUP_S)
