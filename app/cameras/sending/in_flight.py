"""InFlightWindow: how many frames of one camera may be under way at the same time."""

from __future__ import annotations

import math
import statistics
from collections import deque

MOST_IN_FLIGHT = 4
"""However fast a camera is: its answers then come every round trip / 4."""
_REMEMBERED = 15
_HEADROOM = 1.25
"""Round trips vary; a window that is just wide enough on average is too narrow half of the time."""


class InFlightWindow:
    """As many frames as the camera's rate fills the way to the service with, and no more.

    One is enough while an answer comes before the next frame. Beyond that it is the product of rate and delay, the
    delay taken without the time that frames waited for a detector: so a queue never makes the window wider, which
    would only make the queue longer. (The idea is BBR's: Cardwell et al., "BBR: Congestion-Based Congestion Control",
    ACM Queue 14(5), 2016.)
    """

    def __init__(self, fps: float, most: int = MOST_IN_FLIGHT) -> None:
        if most < 1:
            raise ValueError("a window starts at 1")
        self._fps = fps
        self._most = most
        self._ways: deque[float] = deque(maxlen=_REMEMBERED)

    def note(self, round_trip_s: float, queued_s: float) -> None:
        """Take an answer's round trip, and the part of it that was spent in the service's queue; seconds."""
        self._ways.append(max(0.0, round_trip_s - queued_s))

    @property
    def size(self) -> int:
        """Frames that may be under way now."""
        if not self._ways:
            return 1
        filled = self._fps * statistics.median(self._ways) * _HEADROOM
        return max(1, min(self._most, math.ceil(filled)))
