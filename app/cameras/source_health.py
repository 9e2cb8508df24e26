"""SourceHealth: the state of one camera's source, and who is notified when it changes."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime

from app.cameras.accounts import CameraObserver
from app.cameras.sources import Capture
from app.cameras.status import CameraState
from app.core.clock import Clock
from app.telemetry.trouble_log import TroubleLog

OFFLINE_AFTER = 3
"""Failed tries in a row, after which a camera is offline rather than reconnecting."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceHealth:
    """How a source is."""

    state: CameraState
    reason: str
    """Why it is so; empty where there is nothing to say. Holds no secret."""
    since: datetime
    """UTC; when it came into this state."""


class HealthMonitor:
    """Keeps the state of one camera's source; changes go to the observer, failures and recoveries to the log.

    The capture thread reports to it, and the event loop reports a stall; thread-safe.
    """

    def __init__(self, camera_id: str, *, stall_s: float, observer: CameraObserver, clock: Clock) -> None:
        """Begin in the state ``starting``.

        Args:
            camera_id: for the log.
            stall_s: seconds without a frame that make a live source stalled.
            observer: notified of changes, and of every time the source is opened again.
            clock: the camera's.
        """
        self.camera_id = camera_id
        self.stall_s = stall_s
        self._observer = observer
        self._clock = clock
        self._lock = threading.Lock()
        self._current = SourceHealth(CameraState.STARTING, "", Capture.now(clock).at)
        self._was_live = False
        self._reconnects = 0
        self._unreachable = TroubleLog(
            _log, f"camera {camera_id} unreachable", unit="tries", camera_id=camera_id, monotonic=clock.monotonic
        )

    @property
    def current(self) -> SourceHealth:
        """How the source is now."""
        return self._current

    @property
    def reconnects(self) -> int:
        """Times the source was opened again."""
        return self._reconnects

    @property
    def stall_reason(self) -> str:
        """The reason of a stall."""
        return f"no frame for {self.stall_s:g} s"

    def live(self) -> None:
        """Report the first frame since the source was opened, or stalled."""
        if self._enter(CameraState.LIVE, ""):
            logged = self._unreachable.resolve(f"camera {self.camera_id} is live again")
            if not logged and not self._was_live:
                _log.info("camera %s is live", self.camera_id, extra=self._about())
            self._was_live = True

    def stalled(self) -> bool:
        """Report that an open source gives no frames; return whether that is new."""
        is_new = self._enter(CameraState.STALLED, self.stall_reason)
        if is_new:
            self._unreachable.report(self.stall_reason)
        return is_new

    def failed(self, reason: str, *, stack: str | None = None) -> None:
        """Log a failure of the source; ``reason`` and ``stack`` hold no secret."""
        self._unreachable.report(reason, stack=stack)

    def waiting(self, reason: str, failures: int) -> None:
        """Report that the source is to be opened again, after so many failed tries in a row."""
        self._enter(CameraState.OFFLINE if failures >= OFFLINE_AFTER else CameraState.RECONNECTING, reason)

    def reopened(self) -> None:
        """Count a new try to open the source."""
        self._reconnects += 1
        self._observer.reconnected()

    def ended(self, reason: str) -> None:
        """Report that the source has no more frames."""
        self._enter(CameraState.ENDED, reason)
        _log.info("camera %s has ended: %s", self.camera_id, reason, extra=self._about())

    def notify(self) -> None:
        """Notify the observer of the state, changed or not."""
        self._observer.up(self._current.state is CameraState.LIVE)

    def _enter(self, state: CameraState, reason: str) -> bool:
        """Enter a state; return whether it is another than before."""
        with self._lock:
            before = self._current
            if (before.state, before.reason) == (state, reason):
                return False
            since = before.since if before.state is state else Capture.now(self._clock).at
            self._current = SourceHealth(state, reason, since)
        self.notify()
        return before.state is not state

    def _about(self) -> dict[str, str]:
        return {"camera_id": self.camera_id}
