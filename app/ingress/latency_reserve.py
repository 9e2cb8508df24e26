"""LatencyReserve: what of a frame's budget must be left as the model begins, for its event to be in time."""

from __future__ import annotations

MAX_SHARE = 0.5
"""Largest share of what is left of a frame's budget on arrival: where the model itself takes longer, frames are late
whatever is done, and are answered all the same."""
DEVIATIONS = 3.0
"""Times the mean deviation, on top of the mean: most frames take no longer."""
_NEWEST = 0.05
"""Weight of the newest frame in the running means."""


class LatencyReserve:
    """Estimates what frames take from the model to the durable event.

    A frame that is begun with less left is late when it is done, and delays those behind it for nothing. The estimate
    is a running mean and its mean deviation, as TCP has them for its time-out (Jacobson and Karels, "Congestion
    avoidance and control", SIGCOMM 1988).
    """

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._deviation_s = 0.0

    def record(self, seconds: float) -> None:
        """Record the seconds from a frame's start in the model until its event was durable."""
        self._mean_s += _NEWEST * (seconds - self._mean_s)
        self._deviation_s += _NEWEST * (abs(seconds - self._mean_s) - self._deviation_s)

    def seconds_of(self, left_s: float) -> float:
        """Return the seconds that must be left as the model begins with a frame that arrived with ``left_s``."""
        return min(self._mean_s + DEVIATIONS * self._deviation_s, MAX_SHARE * left_s)
