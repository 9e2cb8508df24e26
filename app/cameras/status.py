"""CameraStatus: how a camera is, at one instant."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from app.ledger import LedgerSnapshot


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
    fps_delivered: float = 0.0
    """Frames accepted per second, lately."""
