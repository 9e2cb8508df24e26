"""CameraStatus: how a camera is, at one instant."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from app.cameras.ledger import LedgerSnapshot
from app.cameras.recent_drops import DroppedLately


class CameraState(str, enum.Enum):
    """How a camera's source is; a slow or absent service does not change it."""

    STARTING = "starting"
    """It is being opened for the first time."""
    LIVE = "live"
    """It gives frames."""
    STALLED = "stalled"
    """It is open, but gave no frame for a while; it is about to be opened again."""
    RECONNECTING = "reconnecting"
    """It failed, and is being opened again."""
    OFFLINE = "offline"
    """Opening it failed several times; it is tried on."""
    ENDED = "ended"
    """It has no more frames, and does not loop."""

    def __str__(self) -> str:
        return self.value


class ServiceTrouble(str, enum.Enum):
    """What keeps frames of a camera from becoming events, though its source may be well."""

    SLOW = "slow"
    """Their latency budget runs out."""
    FULL = "full"
    """It has more frames than it can take."""
    AWAY = "away"
    """It is not there, cannot make events durable, or its answers are lost."""
    REFUSING = "refusing"
    """It finds the requests at fault: a wrong token, or a newer camera of the same id."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Blocked:
    """No frame of the camera has been accepted for a while, and it is the service's doing."""

    trouble: ServiceTrouble
    """As the frame settled last had it."""
    detail: str
    """What the service, or gRPC, said of it; may be empty."""
    since: datetime
    """UTC; when the first of the frames that failed in a row was settled."""

    def __str__(self) -> str:
        return f"the service is {self.trouble}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class CameraStatus:
    """How one camera is."""

    id: str
    url: str
    """Without its secrets."""
    state: CameraState
    reason: str
    """Why it is so, in words; empty where there is nothing to say. Holds no secret."""
    since: datetime
    """UTC; when it came into this state."""
    epoch: int
    ledger: LedgerSnapshot
    width: int | None
    """Pixels of the source; ``None`` before the first sampled frame."""
    height: int | None
    fps_asked: float
    fps_measured: float
    """Frames sampled per second, lately."""
    round_trip_ms: float | None
    """From sending to the answer, of the last frame that was sent."""
    reconnects: int
    """Times the source was opened again."""
    blocked: Blocked | None = None
    """Set while the service takes none of its frames, whatever state the source is in."""
    fps_delivered: float = 0.0
    """Frames accepted per second, lately."""
    fps_sent: float = 0.0
    """Frames sent to the service per second, lately."""
    dropped_lately: DroppedLately = field(default_factory=DroppedLately)
