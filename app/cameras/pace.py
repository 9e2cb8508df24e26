"""Pace: how often a camera sends while the service is busier than it can be."""

from __future__ import annotations

from app.cameras.outcomes import Fate, Outcome
from app.ledger import DropReason

_CONGESTED = (DropReason.DEADLINE, DropReason.OVERLOADED)
_BACK = 0.85
_FORTH_FPS_PER_S = 0.5
_LONGEST_REST_S = 2.0
"""A camera that was silent for longer gains no more than this gives."""
_LEAST = 0.1
"""Of its rate: as often it asks however busy the service is."""


class Pace:
    """Keeps the service's queue short by sending less often: what is left out is superseded before it costs anything.

    Additive increase, multiplicative decrease, on the time that frames waited for a detector. Every camera does the
    same, so they come to equal rates (Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion
    avoidance in computer networks", Computer Networks and ISDN Systems 17, 1989). At its full rate a camera is not
    slowed at all.
    """

    def __init__(self, fps: float, queue_target_s: float) -> None:
        """Make a pace.

        Args:
            fps: frames sampled per second.
            queue_target_s: frames that waited longer for a detector are a sign of too many.
        """
        self._fps = fps
        self._target_s = queue_target_s
        self._rate = fps
        self._noted: float | None = None
        self._sent: float | None = None

    @property
    def rate(self) -> float:
        """Frames per second that may be sent now."""
        return self._rate

    @property
    def slowed(self) -> bool:
        """Whether fewer frames are sent than sampled."""
        return self._rate < self._fps

    def aim(self, queue_target_s: float) -> None:
        """Take longer, or shorter, waits for a sign of too many frames."""
        self._target_s = queue_target_s

    def send(self, now: float) -> None:
        """A frame is sent; ``now`` is monotonic seconds."""
        self._sent = now

    def wait_s(self, now: float) -> float:
        """Give the seconds until the next frame may be sent; 0: now."""
        if self._sent is None or not self.slowed:
            return 0.0
        return max(0.0, self._sent + 1 / self._rate - now)

    def note(self, outcome: Outcome, now: float) -> None:
        """Hear what became of a frame."""
        rest_s = 0.0 if self._noted is None else min(_LONGEST_REST_S, now - self._noted)
        if self._is_congested(outcome):
            self._noted = now
            self._rate = max(_LEAST * self._fps, self._rate * _BACK)
        elif outcome.fate is Fate.ACCEPTED:
            self._noted = now
            self._rate = min(self._fps, self._rate + _FORTH_FPS_PER_S * rest_s)

    def _is_congested(self, outcome: Outcome) -> bool:
        if outcome.response is not None:
            return outcome.response.latency.queue_ms > self._target_s * 1000
        return outcome.reason in _CONGESTED
