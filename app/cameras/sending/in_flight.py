"""InFlightWindow: how many frames of one camera may be in flight at the same time."""

from __future__ import annotations

import math
import statistics
from collections import deque

MAX_IN_FLIGHT = 4
"""Frames in flight at most, however fast a camera is: its answers then come every round trip / 4."""
_SAMPLES = 15
_HEADROOM = 1.25
"""Factor; round trips vary, and a window just wide enough on average is too narrow half of the time."""


class InFlightWindow:
    """As many frames as the camera's rate needs to keep the connection to the service busy, and no more.

    One is enough while an answer comes before the next frame. Beyond that it is the product of rate and delay, the
    delay taken without the time that frames waited for a detector: so a queue never widens the window, which would
    only lengthen the queue; where the service limits the rates of its cameras, all of the delay counts. (The idea is
    BBR's: Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue 14(5), 2016.)
    """

    def __init__(self, fps: float, limit: int = MAX_IN_FLIGHT) -> None:
        if limit < 1:
            raise ValueError("a window has room for 1 frame at least")
        self.fps = fps
        """Frames per second that are sent."""
        self._limit = limit
        self._delays: deque[float] = deque(maxlen=_SAMPLES)

    def record(self, round_trip_s: float, queued_s: float) -> None:
        """Record an answer's round trip, and the part of it that was spent in the service's queue, in seconds."""
        self._delays.append(max(0.0, round_trip_s - queued_s))

    @property
    def size(self) -> int:
        """Frames that may be in flight now."""
        if not self._delays:
            return 1
        needed = self.fps * statistics.median(self._delays) * _HEADROOM
        return max(1, min(self._limit, math.ceil(needed)))
