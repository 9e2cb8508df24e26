"""EvenGrid: which frames of a stream are sampled (``app/README.md``, decision 1)."""

from __future__ import annotations

import math

_ROUNDING_S = 0.001
"""Containers stamp frames in whole milliseconds: a frame may seem so much earlier than its grid point."""
_JUMP_S = 10.0
"""A larger step forward is another timeline, not a slow source."""


class EvenGrid:
    """Samples each frame that is the first at or after a point of an even grid of ``fps``.

    The points are ``k / fps`` from the first frame, each computed from the start of the grid, so that nothing
    drifts. A frame that crosses several points is one sample: a source slower than ``fps`` is sampled whole.
    Timestamps that jump, or go back by a point or more, start the grid anew.

    >>> grid = EvenGrid(fps=5)
    >>> [n for n in range(12) if grid.takes(n / 25)]
    [0, 5, 10]
    """

    def __init__(self, fps: float) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps is a number above 0, not {fps!r}")
        self._fps = fps
        self._interval_s = 1.0 / fps
        self._tolerance = min(_ROUNDING_S * fps, 0.1)  # in points
        self._anchor_s: float | None = None
        self._last_s = 0.0
        self._last_point = 0

    def takes(self, time_s: float) -> bool:
        """Return whether the frame presented at ``time_s`` (seconds) is sampled; call once a frame, in order."""
        if self._anchor_s is None or self._is_discontinuous(time_s - self._last_s):
            self._anchor_s, self._last_s, self._last_point = time_s, time_s, 0
            return True
        self._last_s = time_s
        point = math.floor((time_s - self._anchor_s) * self._fps + self._tolerance)
        if point <= self._last_point:
            return False
        self._last_point = point
        return True

    def _is_discontinuous(self, step_s: float) -> bool:
        return step_s <= -self._interval_s or step_s > max(_JUMP_S, self._interval_s)
