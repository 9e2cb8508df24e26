"""Timeline and Pacer: a recording shown in real time, whatever its timestamps are like."""

from __future__ import annotations

import threading

from app.core.clock import Clock

LATE_S = 0.1
"""A frame later than this is skipped: a recording never shows what is over."""
SLIP_S = 1.0
"""A recording later than this goes on from where it is: a machine too slow for it still sees frames."""
_JITTER_S = 0.5
"""So far back a timestamp is disorder; further back it is a new start."""


class Timeline:
    """Turns a stream's own timestamps into seconds from 0 that never fall.

    A timestamp that lacks, starts over, or jumps ahead by more than ``jump_s`` counts as one ordinary step.
    """

    def __init__(self, jump_s: float = 60.0) -> None:
        self._jump_s = jump_s
        self._shift_s: float | None = None
        self._last_s: float | None = None

    def place(self, stamp_s: float | None, step_s: float) -> float:
        """Return the time of the next frame, from its own stamp and the ordinary step, both in seconds."""
        self._last_s = self._placed(stamp_s, step_s)
        return self._last_s

    def restart(self) -> None:
        """Expect timestamps from the beginning again: the recording loops."""
        self._shift_s = None

    def _placed(self, stamp_s: float | None, step_s: float) -> float:
        following = 0.0 if self._last_s is None else self._last_s + step_s
        if stamp_s is None:
            return following
        if self._shift_s is None or self._last_s is None:
            self._shift_s = following - stamp_s
            return following
        moved = stamp_s + self._shift_s - self._last_s
        if not -_JITTER_S < moved <= self._jump_s:
            self._shift_s = following - stamp_s
            return following
        return self._last_s + max(moved, 0.0)


class Pacer:
    """Holds frames back until they are due by our monotonic clock; the first one is due at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._interrupted = threading.Event()
        self._origin: float | None = None

    def lateness(self, time_s: float) -> float:
        """Return by how many seconds the frame of ``time_s`` is overdue; negative where it is not yet due."""
        if self._origin is None:
            self.slip_to(time_s)
        assert self._origin is not None
        return self._clock.monotonic() - self._origin - time_s

    def slip_to(self, time_s: float) -> None:
        """Call the frame of ``time_s`` due now, and pace the following from it."""
        self._origin = self._clock.monotonic() - time_s

    def wait_for(self, time_s: float) -> bool:
        """Block until the frame of ``time_s`` is due; whether it was not interrupted."""
        early_s = -self.lateness(time_s)
        if early_s > 0:
            return not self._clock.wait(self._interrupted, early_s)
        return not self.interrupted

    @property
    def interrupted(self) -> bool:
        """Whether ``interrupt`` was called."""
        return self._interrupted.is_set()

    def interrupt(self) -> None:
        """End the present wait and every later one; thread-safe."""
        self._interrupted.set()
