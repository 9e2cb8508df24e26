"""ServiceTime: the measured time that a detector replica takes for a batch, and what batching gains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.core.window import Window

FIT_S = 30.0
"""Seconds whose batches the fit is made of."""
BUSY_S = 3.0
"""Seconds that the busy share is taken over; the same as the demand's window."""
_MIN_VARIANCE = 0.1
"""Variance of the batch sizes, in frames², below which they do not show what batching gains."""
_PREFIX = "sightline_service_"
_STATS = ("fixed_s", "frame_s", "busy")


@dataclass(frozen=True)
class ServiceTime:
    """A batch of b frames takes ``fixed_s + b * frame_s`` seconds."""

    fixed_s: float
    """Seconds for a batch, whatever its size."""
    frame_s: float
    """Seconds for each frame of it."""
    busy: float
    """The share of time that the replica was busy, from 0 to 1."""

    def batch_s(self, frames: float) -> float:
        """Return the seconds for a batch of so many frames."""
        return self.fixed_s + frames * self.frame_s

    def towards(self, other: ServiceTime, weight: float) -> ServiceTime:
        """Return the weighted mean with another one of ``weight`` (0 to 1), whose busy share is taken over."""
        return ServiceTime(
            fixed_s=self.fixed_s + weight * (other.fixed_s - self.fixed_s),
            frame_s=self.frame_s + weight * (other.frame_s - self.frame_s),
            busy=other.busy,
        )

    def as_stats(self) -> dict[str, float]:
        """Return the numbers as Serve transports them."""
        return {_PREFIX + name: float(getattr(self, name)) for name in _STATS}

    @classmethod
    def from_stats(cls, stats: Mapping[str, float]) -> ServiceTime | None:
        """Return a service time from Serve's numbers; ``None`` where one is missing."""
        found = [stats.get(_PREFIX + name) for name in _STATS]
        values = [value for value in found if value is not None]
        return cls(*values) if len(values) == len(_STATS) else None


def join_service_times(times: Sequence[ServiceTime]) -> ServiceTime | None:
    """Return the mean of what several replicas measured; ``None`` where there is none."""
    if not times:
        return None
    count = len(times)
    return ServiceTime(
        fixed_s=sum(each.fixed_s for each in times) / count,
        frame_s=sum(each.frame_s for each in times) / count,
        busy=sum(each.busy for each in times) / count,
    )


class BatchTimes:
    """Fits a line to the times of the last seconds' batches (ordinary least squares); used on one event loop.

    Where all had one size the line goes through the origin: no gain by batching is assumed before one was measured.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin without batches; ``monotonic`` returns seconds."""
        self._monotonic = monotonic
        started = monotonic()
        self._fit = Window(FIT_S, 5, started)
        self._busy = Window(BUSY_S, 1, started)

    def record(self, frames: int, seconds: float) -> None:
        """Record a batch that took so many seconds."""
        now = self._monotonic()
        self._fit.add(now, 1, frames, frames * frames, seconds, frames * seconds)
        self._busy.add(now, seconds)

    def reading(self) -> ServiceTime | None:
        """Return the fit; ``None`` where no batch ran in the last seconds."""
        now = self._monotonic()
        count, frames, squares, seconds, products = self._fit.sums(now)
        if not frames or not seconds:
            return None
        mean_frames, mean_s = frames / count, seconds / count
        variance = squares / count - mean_frames**2
        slope = mean_s / mean_frames
        if variance >= _MIN_VARIANCE:
            slope = min(slope, max(0.0, (products / count - mean_frames * mean_s) / variance))
        busy = min(1.0, self._busy.sums(now)[0] / self._busy.seconds(now))
        return ServiceTime(fixed_s=max(0.0, mean_s - slope * mean_frames), frame_s=slope, busy=busy)
