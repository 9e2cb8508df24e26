"""CameraStatus: the state and the figures of a camera, at one instant."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from app.cameras.ledger import LedgerSnapshot
from app.cameras.recent_drops import DroppedLately


class CameraState(enum.StrEnum):
    """State of a camera's source; a slow or absent service does not change it."""

    STARTING = "starting"
    """It is being opened for the first time."""
    LIVE = "live"
    """It gives frames."""
    STALLED = "stalled"
    """It is open, but has given no frame for a while; it is about to be opened again."""
    RECONNECTING = "reconnecting"
    """It failed, and is being opened again."""
    OFFLINE = "offline"
    """Opening it failed several times in a row; the tries go on."""
    ENDED = "ended"
    """It has no more frames, and does not loop."""

    def __str__(self) -> str:
        return self.value


class ServiceTrouble(enum.StrEnum):
    """Why frames of a camera become no events though its source may give them."""

    SLOW = "slow"
    """Their latency budget runs out."""
    FULL = "full"
    """It is offered more frames than it can take."""
    AWAY = "away"
    """It cannot be reached, cannot make events durable, or its answers are lost."""
    REFUSING = "refusing"
    """It refuses the requests: a wrong token, or a newer camera of the same id."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Blocked:
    """No frame of the camera has been accepted for a while, for a reason that lies with the service."""

    trouble: ServiceTrouble
    """The trouble of the frame that was settled last."""
    detail: str
    """The reason in words, of the service or of gRPC; may be empty."""
    since: datetime
    """UTC; when the first of the frames that failed in a row was settled."""

    def __str__(self) -> str:
        return f"the service is {self.trouble}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class CameraStatus:
    """The state and the figures of one camera."""

    id: str
    url: str
    """The address of the source, without its secrets."""
    state: CameraState
    reason: str
    """Why it is in this state, in words; may be empty. Holds no secret."""
    since: datetime
    """UTC; when it came into this state."""
    epoch: int
    """Names this life of the camera, and its ledger."""
    ledger: LedgerSnapshot
    width: int | None
    """Pixels of the source; ``None`` before the first sampled frame."""
    height: int | None
    fps_asked: float
    fps_measured: float
    """Frames sampled per second over the last seconds."""
    round_trip_ms: float | None
    """Milliseconds from sending to the answer, of the last frame that was answered."""
    reconnects: int
    """Times the source was opened again."""
    blocked: Blocked | None = None
    """Set while the service accepts none of its frames, whatever state the source is in."""
    fps_delivered: float = 0.0
    """Frames accepted per second over the last seconds."""
    fps_sent: float = 0.0
    """Frames sent to the service per second over the last seconds."""
    dropped_lately: DroppedLately = field(default_factory=DroppedLately)
    committed_epoch: int | None = None
    """The newer epoch for which the service refuses the frames of this camera; ``None`` where it does not."""

    decoder: str = "cpu"
    """What decodes its video: ``cpu``, or a kind of hardware."""

    @property
    def epoch_to_exceed(self) -> int | None:
        """The committed epoch that this camera's is to exceed; ``None`` where it is not to take another.

        A life of which a frame was accepted had the newest epoch then: one that is newer now is of a camera started
        since, to which this one yields. A life of which none was accepted began with an epoch that was too low: a
        clock that was ahead has been set back, or another machine's clock is ahead.
        """
        return None if self.ledger.accepted else self.committed_epoch
