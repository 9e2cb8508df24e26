"""Demand: the frames that the cameras offer, measured at the ingress, and whether they are served in time.

A camera sends less under overload: a newer frame replaces one that waits (``app/README.md``, decision 1). So the frames
that arrive hide the overload; those offered are derived from the sequence numbers, in which replaced frames leave gaps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.core.window import Window

WINDOW_S = 3.0
"""Seconds that a rate is taken over: long enough for 15 frames of a camera, short enough to detect a rise at once."""
FORGET_S = 30.0
"""Seconds without a frame after which a camera is forgotten."""
LATE_WAIT = 0.5
"""A frame is late if it waited for a detector longer than this share of the budget that it arrived with."""
_PREFIX = "sightline_demand_"
_STATS = ("numbered_fps", "arrived_fps", "plain_fps", "cameras", "settled_fps", "late_fps", "max_batch")


@dataclass(frozen=True)
class Demand:
    """The demand that one ingress measured in the last ``WINDOW_S`` seconds."""

    numbered_fps: float
    """Frames per second offered by clients that number them, replaced ones included."""
    arrived_fps: float
    """Those of them that arrived, per second."""
    plain_fps: float
    """Frames per second of clients that do not number them."""
    cameras: float
    """Cameras that sent a frame in the last ``FORGET_S`` seconds; each has about one frame in flight."""
    settled_fps: float
    """Frames per second that a detector took, or that expired before."""
    late_fps: float
    """Those of them that expired or waited too long (``LATE_WAIT``), per second."""
    max_batch: float
    """Largest number of frames in one call to a detector."""

    @property
    def offered_fps(self) -> float:
        """All frames offered per second."""
        return self.numbered_fps + self.plain_fps

    @property
    def late_share(self) -> float:
        """The share of frames that were late or, replaced at the camera, never sent; from 0 to 1.

        A camera sends less often the longer its frames wait (``app/cameras/sending/pace.py``), so a small number of
        late frames alone does not mean that there is no overload.
        """
        unsent_fps = max(0.0, self.numbered_fps - self.arrived_fps)
        settled_fps = self.settled_fps + unsent_fps
        return (self.late_fps + unsent_fps) / settled_fps if settled_fps else 0.0

    def as_stats(self) -> dict[str, float]:
        """Return the numbers as Serve transports them."""
        return {_PREFIX + name: float(getattr(self, name)) for name in _STATS}

    @classmethod
    def from_stats(cls, stats: Mapping[str, float]) -> Demand | None:
        """Return a demand from Serve's numbers; ``None`` where one is missing."""
        found = [stats.get(_PREFIX + name) for name in _STATS]
        values = [value for value in found if value is not None]
        return cls(*values) if len(values) == len(_STATS) else None


def join_demands(demands: Sequence[Demand]) -> Demand | None:
    """Return the demand of all ingresses; ``None`` where there is none.

    Serve distributes requests, not cameras: each ingress gets some frames of every camera, and infers all of them from
    their numbers. So the largest estimate of numbered frames counts; everything else is summed.
    """
    if not demands:
        return None
    return Demand(
        numbered_fps=max(each.numbered_fps for each in demands),
        arrived_fps=sum(each.arrived_fps for each in demands),
        plain_fps=sum(each.plain_fps for each in demands),
        cameras=max(each.cameras for each in demands),
        settled_fps=sum(each.settled_fps for each in demands),
        late_fps=sum(each.late_fps for each in demands),
        max_batch=max(each.max_batch for each in demands),
    )


@dataclass
class _Track:
    """The sequence numbers of one epoch of one camera."""

    epoch: int
    last: int
    step: int
    """The smallest step so far: 1 for Sightline's cameras; clients that number by time have a larger one."""
    last_at: float


class DemandMeter:
    """Counts the offered and the late frames of one ingress; used on its event loop."""

    def __init__(self, max_batch: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin at zero; ``max_batch`` is the largest batch of a detector, ``monotonic`` returns seconds."""
        self._max_batch = max_batch
        self._monotonic = monotonic
        started = monotonic()
        self._offered = Window(WINDOW_S, 3, started)
        self._settled = Window(WINDOW_S, 2, started)
        self._tracks: dict[str, _Track] = {}
        self._swept = started

    def offered(self, camera_id: str, epoch: int, sequence: int) -> None:
        """Count an arrived frame, and those that it replaced at the camera."""
        now = self._monotonic()
        if epoch and sequence:
            self._offered.add(now, self._count(camera_id, epoch, sequence, now), 1, 0)
        else:
            self._track(camera_id, epoch, sequence, now)
            self._offered.add(now, 0, 0, 1)

    def taken(self, waited_s: float, budget_s: float) -> None:
        """Count a frame that a detector takes, with its wait and the budget that it arrived with, in seconds."""
        self._settled.add(self._monotonic(), 1, waited_s > LATE_WAIT * budget_s)

    def expired(self) -> None:
        """Count a frame whose budget ran out before a detector took it."""
        self._settled.add(self._monotonic(), 1, 1)

    def reading(self) -> Demand:
        """Return the demand of the last seconds."""
        now = self._monotonic()
        self._sweep(now)
        seconds = self._offered.seconds(now)
        numbered, arrived, plain = self._offered.sums(now)
        settled, late = self._settled.sums(now)
        return Demand(
            numbered_fps=numbered / seconds,
            arrived_fps=arrived / seconds,
            plain_fps=plain / seconds,
            cameras=len(self._tracks),
            settled_fps=settled / seconds,
            late_fps=late / seconds,
            max_batch=self._max_batch,
        )

    def _count(self, camera_id: str, epoch: int, sequence: int, now: float) -> float:
        track = self._tracks.get(camera_id)
        if track is None or track.epoch != epoch or now - track.last_at > FORGET_S:
            self._track(camera_id, epoch, sequence, now)
            return 1
        step = sequence - track.last
        if step <= 0:  # a repeat, or a frame that was overtaken, which was counted as a gap
            return 0
        track.last, track.last_at, track.step = sequence, now, min(track.step, step)
        return step / track.step

    def _track(self, camera_id: str, epoch: int, sequence: int, now: float) -> None:
        self._sweep(now)
        self._tracks[camera_id] = _Track(epoch, sequence, max(1, sequence), now)

    def _sweep(self, now: float) -> None:
        if now - self._swept >= WINDOW_S:
            self._swept = now
            self._tracks = {name: track for name, track in self._tracks.items() if now - track.last_at <= FORGET_S}
