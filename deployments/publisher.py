"""KafkaPublisher: the actor that commits events, which Serve keeps alive beside the ingress."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError

from app.core.channel import Channel
from app.errors import DeliveryUnavailable, SightlineError
from app.evidence.item import Kind
from app.publisher import (
    Closing,
    EventPublisher,
    EvidenceAnswer,
    IncidentQuery,
    Receipt,
    RuleCount,
    Shard,
    ShardReading,
    Spool,
    SpoolOptions,
    SpoolWriter,
    Submission,
    open_shard,
)
from app.publisher.analysis import FrameAnalysis
from app.publisher.evidence import EvidenceParts, make_evidence
from app.publisher.evidence_desk import EvidenceDesk
from app.publisher.evidence_telemetry import EvidenceTelemetry
from app.publisher.kafka.sink import KafkaSink
from app.publisher.telemetry import PublisherTelemetry
from app.settings.connections import KafkaSettings
from app.settings.evidence import EvidenceSettings
from app.settings.settings import SpoolSettings
from app.settings.tracking import TrackingSettings
from deployments.actor_logs import log_beside_serve
from deployments.actors import BROKER, NAMESPACE, PUBLISHER, SETTLE_S, last_line, publisher_name
from deployments.metrics import ray_meter

logger = logging.getLogger("ray.serve")

BROKER_LOOKUP_S = 0.25
"""Pause between two tries to find the embedded broker."""
BROKER_PATIENCE_S = 15.0
"""How long one search for the embedded broker goes on before it fails and is reported; a start takes 2 to 6 s."""


@dataclass(frozen=True)
class PublisherOptions:
    """What the publisher needs to know."""

    kafka: KafkaSettings
    spool: SpoolSettings
    budget_ms: int
    """Of frames that come without one; from capture to acknowledgement."""
    shard: Shard
    """Which of the publishers it is."""
    tracking: TrackingSettings
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    anonymise: tuple[str, ...] = ()
    """Labels whose boxes are pixelated in what is stored."""


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


async def find_broker(name: str, patience_s: float = BROKER_PATIENCE_S) -> str:
    """Return ``host:port`` of the embedded broker whose actor has this name; wait while it is being started.

    Serve starts its actors in its own namespace, which is given here: a publisher's runtime context names the one of
    the driver, which is Serve's under ``serve run`` and the dashboard's under ``serve deploy`` (Ray 2.60).

    Raises:
        DeliveryUnavailable: the actor is not there, or did not answer in ``patience_s``; the text says which.
    """
    end = time.monotonic() + patience_s
    failure = ""
    while True:
        try:
            broker: Any = ray.get_actor(name, namespace=NAMESPACE)
            left_s = max(end - time.monotonic(), BROKER_LOOKUP_S)
            address: str = await asyncio.wait_for(broker.address.remote(), left_s)
        except ValueError:
            trouble = "Serve has not started its actor, or starts another"
        except TimeoutError:
            trouble = "its actor does not answer; it may wait for a node with room for it (ray status)"
        except RayError as error:
            # What comes next is that there is no actor, until Serve has made another: this says more.
            trouble = failure = f"its actor failed: {last_line(error)}"
        else:
            return address
        if time.monotonic() >= end:
            raise DeliveryUnavailable(f"waiting for the embedded broker: {failure or trouble}")
        await asyncio.sleep(BROKER_LOOKUP_S)


@ray.remote
class KafkaPublisher:
    """The one that commits events, or one of several that share the cameras; a shell around ``app.publisher``.

    Serve ends it without notice (``ray.kill``). That loses no event that was answered: ``OK`` follows the commit to
    the spool, and the next publisher on this node sends what Kafka has not. Where the whole application ends, its
    ingress ends first and calls :meth:`close`.
    """

    def __init__(self, sealed: Sealed) -> None:
        self._options = sealed.options
        shard = self._options.shard
        log_beside_serve(PUBLISHER, None if shard.alone else shard.part)
        self._publisher: EventPublisher | None = None
        self._sink: KafkaSink | None = None
        self._channels: Mapping[Channel, KafkaSink] = {}
        self._starting = asyncio.Lock()
        self._evidence: EvidenceParts | None = None
        self._desk: EvidenceDesk | None = None

    async def publish(self, submissions: Sequence[Submission]) -> list[Receipt | SightlineError]:
        """Commit events; each gets a receipt or its error."""
        return await (await self._started()).publish_group(submissions)

    async def reading(self, seconds: float | None = None) -> ShardReading:
        """Read the accounts; with ``seconds`` the latencies are those of the events acknowledged since so long ago."""
        reading = (await self._started()).reading(seconds)
        warning = self._sink.warning if self._sink is not None else ""
        channels = {
            # A topic that is missing is reported before there is a record for it.
            channel: replace(one, trouble=one.trouble or self._channels[channel].trouble)
            for channel, one in reading.snapshot.channels.items()
        }
        assert self._desk is not None
        snapshot = replace(reading.snapshot, broker_warning=warning, channels=channels, evidence=self._desk.snapshot)
        return replace(reading, snapshot=snapshot)

    async def end_cameras(self, camera_ids: Sequence[str]) -> None:
        """End the incidents and objects of cameras that were removed."""
        await (await self._started()).end_cameras(camera_ids)

    async def set_rules(self, rules: str) -> None:
        """Put rules, a JSON list, into force from the next committed frame on, and keep them."""
        await (await self._started()).rules.set_rules(rules)

    async def incidents(self, query: IncidentQuery) -> list[Mapping[str, Any]]:
        """Return incidents as they were published last, the newest first."""
        return await (await self._started()).rules.incidents(query)

    async def rule_counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> list[RuleCount]:
        """Return how often a rule found something, by steps of time."""
        return await (await self._started()).rules.counts(rule, from_ms, to_ms, step_ms)

    async def evidence(self, anomaly_id: str, kind: str, signed: bool) -> EvidenceAnswer | None:
        """Return the evidence of an incident, by a signed address if that will do; ``None``: none of the kind."""
        await self._started()
        assert self._desk is not None
        return await self._desk.find(anomaly_id, Kind(kind), signed=signed)

    async def close(self) -> Closing | None:
        """Send what waits, close the spool and the connection to Kafka, and return the last accounts.

        Called where the application ends, before Serve kills this actor. A call that comes later all the same starts
        the publisher again.

        Returns:
            ``None`` where it was closed before, or never used.
        """
        async with self._starting:
            (publisher, self._publisher), (sink, self._sink) = (self._publisher, None), (self._sink, None)
            if publisher is None:
                return None
            if self._desk is not None:
                await self._desk.close()
            closing: Closing = await publisher.finish(SETTLE_S)
            if sink is not None:
                await sink.close(SETTLE_S)
            return closing

    async def _started(self) -> EventPublisher:
        """Start at the first call: an actor's constructor runs outside its event loop."""
        async with self._starting:
            if self._publisher is None:
                self._publisher = await self._start()
            return self._publisher

    async def _start(self) -> EventPublisher:
        kafka, shard = self._options.kafka, self._options.shard
        sink = self._sink = KafkaSink(kafka, self._bootstrap) if kafka.enabled else None
        self._channels = {
            channel: KafkaSink(kafka.of_topic(topic), self._bootstrap, watches_addresses=False)
            for channel, topic in (kafka.channel_topics if kafka.enabled else {}).items()
        }
        for each in (*((sink,) if sink is not None else ()), *self._channels.values()):
            each.start()
        options = self._options
        self._evidence = make_evidence(options.evidence, options.anonymise, options.spool.dir, shard)
        spool = SpoolWriter(self._open_spool)
        number = None if shard.alone else shard.number
        self._desk = EvidenceDesk(spool, self._evidence, EvidenceTelemetry(ray_meter(), number))
        telemetry = PublisherTelemetry(ray_meter(), number)
        publisher = EventPublisher(
            sink,
            spool,
            budget_ms=self._options.budget_ms,
            observer=telemetry,
            tracks=telemetry,
            publish_empty=kafka.publish_empty,
            channels=self._channels,
        )
        publisher.start()
        self._desk.start()
        return publisher

    def _open_spool(self) -> Spool:
        spool = self._options.spool
        options = SpoolOptions(spool.dir, spool.max_bytes, spool.synchronous)
        evidence = self._evidence.incidents if self._evidence is not None else None
        analysis = FrameAnalysis(self._options.tracking, tuple(self._channels), evidence)
        return open_shard(options, self._options.shard, analysis, evidence)

    async def _bootstrap(self) -> Sequence[str]:
        return self._options.kafka.bootstrap_servers or (await self._find_broker(),)

    async def _find_broker(self) -> str:
        """Find the broker of the same ingress: Serve names both by one pattern, whose last part is the actor's own.

        Raises:
            DeliveryUnavailable: it is not there, or did not answer; the text says which.
        """
        own = ray.get_runtime_context().get_actor_name()
        assert own is not None
        return await find_broker(own.removesuffix(publisher_name(self._options.shard)) + BROKER)
