"""What the HTTP API tells of: plain facts of the running system, and who knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.cameras import AnsweredFrame, CameraStatus, FrameLatency, Picture
from app.fleet import Origin
from app.publisher import PublisherSnapshot
from app.settings.cameras import CameraSettings


@dataclass(frozen=True)
class Health:
    """Whether the system can do its work, and if not, why."""

    ready: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cursor:
    """Up to where a camera's frames were read: a number within one life of its actor."""

    epoch: int = 0
    number: int = 0


@dataclass(frozen=True)
class CameraNews:
    """What a camera saw since a cursor."""

    camera_id: str
    epoch: int
    seen: tuple[AnsweredFrame, ...]


@dataclass(frozen=True)
class CameraFacts:
    """How one camera is."""

    id: str
    url: str
    """Without its secrets."""
    fps_asked: float
    status: CameraStatus | None
    """None while its actor is being made, or does not answer."""
    silence: str
    """Why there is no status."""
    silent_since: datetime
    latencies: tuple[FrameLatency, ...]
    """Of its last accepted frames."""
    restarts: int
    """Times its actor died and was made again."""
    asked: CameraSettings
    """As it was asked for."""
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
    """What the ingress has in hand."""

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


@dataclass(frozen=True)
class SystemFacts:
    """The whole system at about one instant."""

    at: datetime
    budget_ms: float
    cameras: tuple[CameraFacts, ...]
    publisher: PublisherSnapshot | None
    """None while it cannot be reached."""
    deployments: tuple[DeploymentFacts, ...]
    load: LoadFacts | None
    broker: BrokerFacts
    viewers: int
    """Event streams that are open."""
    cameras_trouble: str = ""
    """Why what is configured now is not taken; empty: it is."""


class HealthSource(Protocol):
    """Who knows how the system is."""

    async def health(self) -> Health:
        """Return how it is now."""


class CameraSource(Protocol):
    """Who can ask the cameras."""

    @property
    def camera_ids(self) -> Sequence[str]:
        """Every camera there should be."""

    async def news(self, after: Mapping[str, Cursor]) -> Sequence[CameraNews]:
        """Return what each camera that answers saw since its cursor."""

    async def picture(self, camera_id: str) -> Picture | None:
        """Return the newest frame of a camera; none before its first, or while it does not answer."""


class SystemSource(HealthSource, CameraSource, Protocol):
    """Who knows everything the API tells."""

    async def facts(self, viewers: int, seconds: float | None = None) -> SystemFacts:
        """Gather the facts; with ``seconds`` Kafka's latencies are of what it acknowledged since so long ago."""
