"""CameraTelemetry: one camera's metrics, fed by its own process or from the statuses that it reports."""

from __future__ import annotations

from collections.abc import Mapping

from app.cameras.ledger import DropReason
from app.cameras.status import CameraState, CameraStatus
from app.telemetry.metrics import (
    CAMERA_RECONNECTS,
    CAMERA_UP,
    FRAMES_ACCEPTED,
    FRAMES_DROPPED,
    FRAMES_IN_FLIGHT,
    FRAMES_SAMPLED,
    Meter,
)


class CameraTelemetry:
    """Feeds one camera's metrics; a :class:`~app.cameras.accounts.CameraObserver`."""

    def __init__(self, camera_id: str, meter: Meter) -> None:
        self._id = camera_id
        self._meter = meter
        for reason in DropReason:
            meter.begin(FRAMES_DROPPED, camera_id, reason.value)
        for counter in (FRAMES_SAMPLED, FRAMES_ACCEPTED, CAMERA_RECONNECTS):
            meter.begin(counter, camera_id)

    def sampled(self, frames: int = 1) -> None:
        """Count sampled frames."""
        self._meter.add(FRAMES_SAMPLED, self._id, count=frames)

    def accepted(self, frames: int = 1) -> None:
        """Count accepted frames."""
        self._meter.add(FRAMES_ACCEPTED, self._id, count=frames)

    def dropped(self, reason: DropReason, frames: int = 1) -> None:
        """Count dropped frames."""
        self._meter.add(FRAMES_DROPPED, self._id, reason.value, count=frames)

    def in_flight(self, frames: int) -> None:
        """Set the number of frames that are sampled and not yet settled."""
        self._meter.set(FRAMES_IN_FLIGHT, frames, self._id)

    def up(self, live: bool) -> None:
        """Set whether the source gives frames."""
        self._meter.set(CAMERA_UP, int(live), self._id)

    def reconnected(self, tries: int = 1) -> None:
        """Count tries to open the source again."""
        self._meter.add(CAMERA_RECONNECTS, self._id, count=tries)


class ReportedTelemetry:
    """Feeds one camera's metrics from the statuses of its actor, across restarts of the actor."""

    def __init__(self, telemetry: CameraTelemetry) -> None:
        self._telemetry = telemetry
        self._counters = {
            "sampled": telemetry.sampled,
            "accepted": telemetry.accepted,
            "reconnected": telemetry.reconnected,
        }
        self._last: CameraStatus | None = None

    def report(self, status: CameraStatus | None) -> None:
        """Count what happened since the last status; ``None``: the actor does not answer.

        To be called regularly, changed or not: Ray drops a gauge that is not set.
        """
        self._telemetry.up(status is not None and status.state is CameraState.LIVE)
        if status is None:
            return
        self._telemetry.in_flight(status.ledger.in_flight)
        for what, count in counted_since(self._last, status).items():
            if isinstance(what, DropReason):
                self._telemetry.dropped(what, count)
            else:
                self._counters[what](count)
        self._last = status


def counted_since(before: CameraStatus | None, now: CameraStatus) -> Mapping[str | DropReason, int]:
    """Return what a camera counted since an earlier status, without zeros; a new epoch counts from zero."""
    earlier = _counts(before) if before is not None and before.epoch == now.epoch else {}
    return {what: count - earlier.get(what, 0) for what, count in _counts(now).items() if count > earlier.get(what, 0)}


def _counts(status: CameraStatus) -> dict[str | DropReason, int]:
    ledger = status.ledger
    counts: dict[str | DropReason, int] = {
        "sampled": ledger.sampled,
        "accepted": ledger.accepted,
        "reconnected": status.reconnects,
    }
    for reason, count in ledger.dropped.items():
        counts[reason] = count
    return counts
