"""Schemas of the HTTP API's answers, and their conversion from facts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from app.cameras import CameraState, DroppedLately
from app.fleet import Origin
from app.publisher import PublisherSnapshot
from app.web.camera_fields import CameraFields
from app.web.camera_health import trouble_of
from app.web.channels import ChannelModel, channels_of
from app.web.evidence_fields import EvidenceModel
from app.web.facts import BrokerFacts, CameraFacts, DeploymentFacts, LoadFacts, SystemFacts
from app.web.figures import DroppedLatelyModel, LatencyModel, LedgerModel, Model, QuantilesModel, milliseconds


class CameraModel(Model):
    """One camera."""

    id: str
    url: Annotated[str, Field(description="Without its secrets.")]
    state: Annotated[CameraState, Field(description="How its source is; a slow service does not change it.")]
    reason: Annotated[str, Field(description="Why it is in this state; may be empty.")]
    since: Annotated[datetime, Field(description="UTC; when it came into this state.")]
    blocked: Annotated[str, Field(description="What keeps its frames from becoming events; empty: nothing.")]
    trouble: Annotated[str, Field(description="What is wrong and why, in one sentence; empty: all is well.")]
    fps_asked: float
    fps_sampled: Annotated[float, Field(description="Frames sampled per second, lately.")]
    fps_sent: Annotated[float, Field(description="Frames sent to the service per second, lately.")]
    fps_delivered: Annotated[float, Field(description="Frames that became events per second, lately.")]
    dropped_lately: DroppedLatelyModel
    width: int | None
    height: int | None
    latency: LatencyModel
    round_trip_ms: float | None
    decoder: Annotated[str | None, Field(description="What decodes its video: cpu, or a kind of hardware.")]
    reconnects: Annotated[int, Field(description="Times its source was opened again.")]
    restarts: Annotated[int, Field(description="Times its process died and was started again.")]
    epoch: int | None
    ledger: LedgerModel | None
    origin: Annotated[Origin, Field(description="Whether it is configured, or was added or changed at run time.")]
    settings: Annotated[CameraFields, Field(description="As configured or requested; PUT accepts the same.")]

    @classmethod
    def of(cls, camera: CameraFacts, budget_ms: float) -> CameraModel:
        """Convert a camera; of one that does not answer, what its manager knows."""
        status = camera.status
        silent = CameraState.RECONNECTING if camera.restarts else CameraState.STARTING
        return cls(
            id=camera.id,
            url=camera.url,
            state=status.state if status else silent,
            reason=status.reason if status else camera.silence,
            since=status.since if status else camera.silent_since,
            blocked=_blocked(camera),
            trouble=trouble_of(camera, budget_ms),
            fps_asked=camera.fps_asked,
            fps_sampled=round(status.fps_measured, 2) if status else 0.0,
            fps_sent=round(status.fps_sent, 2) if status else 0.0,
            fps_delivered=round(status.fps_delivered, 2) if status else 0.0,
            dropped_lately=DroppedLatelyModel.of(status.dropped_lately if status else DroppedLately()),
            width=status.width if status else None,
            height=status.height if status else None,
            latency=LatencyModel.of(camera.latencies),
            round_trip_ms=milliseconds(status.round_trip_ms) if status and status.round_trip_ms is not None else None,
            decoder=status.decoder if status else None,
            reconnects=status.reconnects if status else 0,
            restarts=camera.restarts,
            epoch=status.epoch if status else None,
            ledger=LedgerModel.of(status.ledger) if status else None,
            origin=camera.origin,
            settings=CameraFields.of(camera.requested),
        )


class DeploymentModel(Model):
    """One Serve deployment."""

    application: str
    name: str
    running: int
    starting: int
    state: str

    @classmethod
    def of(cls, deployment: DeploymentFacts) -> DeploymentModel:
        """Convert a deployment."""
        return cls(
            application=deployment.application,
            name=deployment.name,
            running=deployment.running,
            starting=deployment.starting,
            state=deployment.state,
        )


class QueueModel(Model):
    """What waits and runs in the service."""

    frames_waiting: Annotated[int, Field(description="Frames that wait for a detector.")]
    batches_running: Annotated[int, Field(description="Batches at the detectors.")]
    events_waiting: Annotated[int, Field(description="Events that wait for the publisher.")]

    @classmethod
    def of(cls, load: LoadFacts) -> QueueModel:
        """Convert a load."""
        return cls(
            frames_waiting=load.frames_waiting,
            batches_running=load.batches_running,
            events_waiting=load.events_waiting,
        )


class PublisherModel(Model):
    """The publisher's ledger: ``accepted = published + spooled + quarantined + discarded``."""

    accepted: int
    published: int
    quarantined: int
    discarded: int
    in_flight: int
    failed: int
    breaches: Annotated[int, Field(description="Events acknowledged later than the budget.")]
    away: Annotated[
        tuple[int, ...], Field(description="Shards of it that do not answer; their part of the numbers is missing.")
    ] = ()
    quarantine_trouble: Annotated[
        str, Field(description="What is in quarantine and why, in one sentence; empty: nothing.")
    ] = ""

    @classmethod
    def of(cls, publisher: PublisherSnapshot) -> PublisherModel:
        """Convert the publisher's counts."""
        return cls(
            accepted=publisher.accepted,
            published=publisher.published,
            quarantined=publisher.quarantined,
            discarded=publisher.discarded,
            in_flight=publisher.in_flight,
            failed=publisher.failed,
            breaches=publisher.breaches,
            away=publisher.away,
            quarantine_trouble=publisher.quarantine_trouble,
        )


class SpoolModel(Model):
    """Events that wait for Kafka."""

    events: int
    bytes: int
    oldest_s: Annotated[float, Field(description="Age of the oldest one, in seconds.")]

    @classmethod
    def of(cls, publisher: PublisherSnapshot) -> SpoolModel:
        """Convert what waits in the spool."""
        return cls(
            events=publisher.spooled, bytes=publisher.spool_bytes, oldest_s=round(max(0.0, publisher.oldest_s), 1)
        )


class BrokerModel(Model):
    """Where events go."""

    enabled: bool
    embedded: Annotated[bool, Field(description="The broker for demonstration, which keeps events in memory only.")]
    servers: tuple[str, ...]
    topic: str
    trouble: Annotated[str, Field(description="Why events cannot be delivered now; empty while they can.")]
    warning: Annotated[str, Field(description="Which addresses of Kafka fail while events are delivered.")] = ""

    @classmethod
    def of(cls, broker: BrokerFacts, publisher: PublisherSnapshot | None) -> BrokerModel:
        """Convert where events go."""
        trouble = publisher.trouble if publisher else "the publisher does not answer"
        return cls(
            enabled=broker.enabled,
            embedded=broker.embedded,
            servers=broker.servers,
            topic=broker.topic,
            trouble=trouble if broker.enabled else "",
            warning=publisher.broker_warning if publisher and broker.enabled else "",
        )


class StatusModel(Model):
    """The whole system."""

    at: Annotated[datetime, Field(description="UTC.")]
    budget_ms: Annotated[float, Field(description="From capture to Kafka.")]
    cameras: tuple[CameraModel, ...]
    cameras_trouble: Annotated[str, Field(description="Why the current configuration is not in force; empty: it is.")]
    rules_trouble: Annotated[str, Field(description="Why the current rules are not in force; empty: they are.")] = ""
    rules_version: Annotated[str, Field(description="Another one whenever the rules have changed.")] = ""
    latency: Annotated[LatencyModel, Field(description="Of all cameras together.")]
    capture_to_kafka_ms: Annotated[
        QuantilesModel | None, Field(description="Capture until Kafka's acknowledgement, by the publisher.")
    ]
    deployments: tuple[DeploymentModel, ...]
    queue: QueueModel | None
    publisher: PublisherModel | None
    spool: SpoolModel | None
    broker: BrokerModel
    channels: Annotated[
        tuple[ChannelModel, ...], Field(description="The other topics; empty while the publisher does not answer.")
    ] = ()
    evidence: Annotated[
        EvidenceModel | None, Field(description="Pictures and clips of incidents; null: the publisher does not answer.")
    ] = None
    viewers: Annotated[int, Field(description="Event streams that are open.")]

    @classmethod
    def of(cls, facts: SystemFacts) -> StatusModel:
        """Convert the whole system."""
        publisher = facts.publisher
        return cls(
            at=facts.at.astimezone(UTC),
            budget_ms=facts.budget_ms,
            cameras=tuple(CameraModel.of(camera, facts.budget_ms) for camera in facts.cameras),
            cameras_trouble=facts.cameras_trouble,
            rules_trouble=facts.rules_trouble,
            rules_version=facts.rules_version,
            latency=LatencyModel.of(tuple(one for camera in facts.cameras for one in camera.latencies)),
            capture_to_kafka_ms=QuantilesModel.of(publisher.latency) if publisher else None,
            deployments=tuple(DeploymentModel.of(one) for one in facts.deployments),
            queue=QueueModel.of(facts.load) if facts.load else None,
            publisher=PublisherModel.of(publisher) if publisher else None,
            spool=SpoolModel.of(publisher) if publisher else None,
            broker=BrokerModel.of(facts.broker, publisher),
            channels=channels_of(facts.broker, publisher),
            evidence=EvidenceModel.of(publisher.evidence) if publisher else None,
            viewers=facts.viewers,
        )


def _blocked(camera: CameraFacts) -> str:
    status = camera.status
    return str(status.blocked) if status and status.blocked else ""
