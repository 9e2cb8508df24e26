"""Demand: what the cameras offer, measured at the service's door, and whether it is served in time.

A camera in overload sends less: a newer frame takes the place of one that waits (design, decision 1). So what
arrives hides the overload; what is offered is read off the cameras' own numbers, in which replaced frames leave gaps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.core.window import Window

WINDOW_S = 3.0
"""Seconds that a rate is taken over: long enough for 15 frames of a camera, short enough to see a rush at once."""
FORGET_S = 30.0
"""A camera silent for so long is forgotten."""
LATE_WAIT = 0.5
"""A frame is late if waiting for a detector took more than this share of what was left of its budget on arrival."""
_PREFIX = "sightline_demand_"
_STATS = ("numbered_fps", "arrived_fps", "plain_fps", "cameras", "settled_fps", "late_fps", "max_batch")


@dataclass(frozen=True)
class Demand:
    """What one ingress saw of the demand in the last ``WINDOW_S`` seconds."""

    numbered_fps: float
    """Frames offered per second by clients that number them, replaced ones included."""
    arrived_fps: float
    """Those of them that arrived, per second."""
    plain_fps: float
    """Frames per second of clients that do not number theirs."""
    cameras: float
    """Cameras seen in the last ``FORGET_S`` seconds; each has about one frame in hand at a time."""
    settled_fps: float
    """Frames per second that a detector took, or that expired before one could."""
    late_fps: float
    """Those among them that expired or waited too long (``LATE_WAIT``), per second."""
    max_batch: float
    """Frames that one call to a detector may have."""

    @property
    def offered_fps(self) -> float:
        """All frames offered per second."""
        return self.numbered_fps + self.plain_fps

    @property
    def late_share(self) -> float:
        """The share of frames that came late or, replaced at their source, never; from 0 to 1.

        A camera sends less often the longer its frames wait (``cameras/sending/pace.py``), so few late ones need
        not mean that all is well.
        """
        unsent_fps = max(0.0, self.numbered_fps - self.arrived_fps)
        settled_fps = self.settled_fps + unsent_fps
        return (self.late_fps + unsent_fps) / settled_fps if settled_fps else 0.0

    def as_stats(self) -> dict[str, float]:
        """Give the numbers as Serve carries them."""
        return {_PREFIX + name: float(getattr(self, name)) for name in _STATS}

    @classmethod
    def from_stats(cls, stats: Mapping[str, float]) -> Demand | None:
        """Take the numbers over; none where one is missing."""
        found = [stats.get(_PREFIX + name) for name in _STATS]
        values = [value for value in found if value is not None]
        return cls(*values) if len(values) == len(_STATS) else None


def join_demands(demands: Sequence[Demand]) -> Demand | None:
    """Make one of what several ingresses saw.

    Serve spreads requests, not cameras: each ingress sees some frames of every camera, and knows of all of them by
    their numbers. So of numbered frames the largest estimate counts; all else adds up.
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
    """One life of one camera, as its frames' numbers show it."""

    epoch: int
    last: int
    step: int
    """The smallest step seen: 1 for our cameras; clients that number by time have a larger one."""
    seen: float


class DemandMeter:
    """Counts the frames offered, and the late ones; one for each ingress, used from its event loop."""

    def __init__(self, max_batch: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Make a meter; ``monotonic`` gives seconds."""
        self._max_batch = max_batch
        self._monotonic = monotonic
        born = monotonic()
        self._offered = Window(WINDOW_S, 3, born)
        self._settled = Window(WINDOW_S, 2, born)
        self._tracks: dict[str, _Track] = {}
        self._swept = born

    def offered(self, camera_id: str, epoch: int, sequence: int) -> None:
        """Count an arrived frame, and those that it replaced at its source."""
        now = self._monotonic()
        if epoch and sequence:
            self._offered.add(now, self._count(camera_id, epoch, sequence, now), 1, 0)
        else:
            self._track(camera_id, epoch, sequence, now)
            self._offered.add(now, 0, 0, 1)

    def taken(self, waited_s: float, budget_s: float) -> None:
        """Count a frame that a detector takes: how long it waited, and the budget it came with, in seconds."""
        self._settled.add(self._monotonic(), 1, waited_s > LATE_WAIT * budget_s)

    def expired(self) -> None:
        """Count a frame whose budget ran out before a detector took it."""
        self._settled.add(self._monotonic(), 1, 1)

    def reading(self) -> Demand:
        """Give the demand of the last seconds."""
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
        if track is None or track.epoch != epoch or now - track.seen > FORGET_S:
            self._track(camera_id, epoch, sequence, now)
            return 1
        step = sequence - track.last
        if step <= 0:  # a repeat, or a frame that was overtaken: it was counted as a gap
            return 0
        track.last, track.seen, track.step = sequence, now, min(track.step, step)
        return step / track.step

    def _track(self, camera_id: str, epoch: int, sequence: int, now: float) -> None:
        self._sweep(now)
        self._tracks[camera_id] = _Track(epoch, sequence, max(1, sequence), now)

    def _sweep(self, now: float) -> None:
        if now - self._swept >= WINDOW_S:
            self._swept = now
            self._tracks = {name: track for name, track in self._tracks.items() if now - track.seen <= FORGET_S}
