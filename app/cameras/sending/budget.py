"""LatencyBudget: the time that a frame has from its capture until its event is sent to Kafka."""

from __future__ import annotations

from collections.abc import Callable


class LatencyBudget:
    """One camera's latency budget, measured on its monotonic clock; it may be changed while the camera runs."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        """Make a budget of so many seconds; ``monotonic`` returns seconds."""
        self.seconds = seconds
        """Seconds; a change applies to every frame that is not sent yet."""
        self._monotonic = monotonic

    def age_s(self, captured: float) -> float:
        """Return the seconds since a frame was captured, at ``captured`` monotonic seconds."""
        return self._monotonic() - captured

    def remaining_s(self, captured: float) -> float:
        """Return the seconds that are left to a frame captured at ``captured`` monotonic seconds; may be negative."""
        return captured + self.seconds - self._monotonic()
