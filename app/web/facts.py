"""The facts that the HTTP API answers with, and the protocols of what provides them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.cameras import CameraStatus, Cursor, FrameLatency, NewFrames, Picture
from app.core.channel import Channel
from app.fleet import Origin
from app.publisher import PublisherSnapshot
from app.settings.cameras import CameraSettings


@dataclass(frozen=True)
class Health:
    """Whether the system is ready, and if not, why."""

    ready: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class CameraFacts:
    """The state of one camera."""

    id: str
    url: str
    """Without its secrets."""
    fps_asked: float
    status: CameraStatus | None
    """``None`` while its actor is being started, or does not answer."""
    silence: str
    """Why there is no status."""
    silent_since: datetime
    latencies: tuple[FrameLatency, ...]
    """Of its last accepted frames."""
    restarts: int
    """Times its actor died and was started again."""
    requested: CameraSettings
    """As configured or requested."""
    origin: Origin


@dataclass(frozen=True)
class DeploymentFacts:
    """One Serve deployment."""

    application: str
    name: str
    running: int
    starting: int
    state: str


@dataclass(frozen=True)
class LoadFacts:
    """What waits and runs in an ingress replica."""

    frames_waiting: int
    batches_running: int
    events_waiting: int


@dataclass(frozen=True)
class BrokerFacts:
    """Where events go."""

    enabled: bool
    embedded: bool
    servers: tuple[str, ...]
    topic: str
    channel_topics: Mapping[Channel, str] = field(default_factory=dict)
    """The other topics, by what goes there; without those that are turned off."""


@dataclass(frozen=True)
class SystemFacts:
    """The whole system at about one instant."""

    at: datetime
    budget_ms: float
    cameras: tuple[CameraFacts, ...]
    publisher: PublisherSnapshot | None
    """``None`` while it cannot be reached."""
    deployments: tuple[DeploymentFacts, ...]
    load: LoadFacts | None
    broker: BrokerFacts
    viewers: int
    """Event streams that are open."""
    cameras_trouble: str = ""
    """Why the current configuration of the cameras is not in force; empty: it is."""
    rules_trouble: str = ""
    """Why the current rules are not in force; empty: they are."""
    rules_version: str = ""
    """Another one whenever the rules have changed."""


class HealthSource(Protocol):
    """Provides the system's readiness."""

    async def health(self) -> Health:
        """Return whether it is ready now."""


class CameraSource(Protocol):
    """Provides what the cameras answer."""

    @property
    def camera_ids(self) -> Sequence[str]:
        """Ids of the desired cameras."""

    async def new_frames(self, after: Mapping[str, Cursor]) -> Sequence[NewFrames]:
        """Return the frames of each camera that answers, since its cursor."""

    async def picture(self, camera_id: str) -> Picture | None:
        """Return the newest frame of a camera; ``None`` before its first, or while it does not answer."""


class SystemSource(HealthSource, CameraSource, Protocol):
    """Provides everything that the API answers."""

    async def facts(self, viewers: int, seconds: float | None = None) -> SystemFacts:
        """Gather the facts; with ``seconds`` Kafka's latencies are of the events of the last so many seconds."""
