"""Gathering: how long a busy ingress has frames wait for others, though a detector is free."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_SHARE = 0.1
"""Of what is left of a frame's budget on arrival: the longest that frames are gathered."""
LONGEST_S = 0.025
IDLE_SHARE, BUSY_SHARE = 0.15, 0.45
"""Of a core: up to the first, frames are not gathered; from the second on, for the longest."""
PERIOD_S = 0.5
"""How often the use of the processor is read."""
_NEWEST = 0.5
"""Weight of the newest reading in the running mean."""


class Gathering:
    """Has frames share calls where this process has much to do, and none wait where it has not.

    A call to a detector or a publisher costs the processor about as much as all that is done for a frame, however many
    frames it carries: on a machine whose cores are busy, frames that wait for each other are answered sooner, and more
    of them. How busy it is shows in this process's own use of the processor: then there is something to save.
    """

    def __init__(self, monotonic: Callable[[], float], processor_s: Callable[[], float] = time.process_time) -> None:
        """Begin without gathering.

        Args:
            monotonic: returns seconds.
            processor_s: returns the seconds of processor time that this process has used.
        """
        self._monotonic = monotonic
        self._processor_s = processor_s
        self._read_at, self._used_s = monotonic(), processor_s()
        self._share = 0.0
        self._budget_s = 0.0

    def arrived(self, budget_s: float) -> None:
        """Note what is left of a frame's budget on its arrival."""
        self._budget_s = budget_s

    def seconds(self) -> float:
        """Return how long frames are gathered now; 0: not at all."""
        now = self._monotonic()
        if now - self._read_at >= PERIOD_S:
            used_s = self._processor_s()
            self._share += _NEWEST * ((used_s - self._used_s) / (now - self._read_at) - self._share)
            self._read_at, self._used_s = now, used_s
        degree = min(1.0, max(0.0, (self._share - IDLE_SHARE) / (BUSY_SHARE - IDLE_SHARE)))
        return degree * min(LONGEST_S, LONGEST_SHARE * self._budget_s)
