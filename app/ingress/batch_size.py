"""BatchSizer: how many frames a batch may have, so that the first does not wait long for the last."""

from __future__ import annotations

_NEWEST = 0.2
"""Weight of the newest batch in the running mean."""


class BatchSizer:
    """Estimates what a frame costs the detector, and fits batches to a time.

    A batch's answers come back together. On a GPU sixteen frames take hardly longer than one; on a CPU core each takes
    its own time, and a batch of sixteen would be older than the budget when it is done.
    """

    def __init__(self, largest: int, target_s: float) -> None:
        """Set up a sizer.

        Args:
            largest: frames in a batch, however fast the detector is.
            target_s: seconds that a batch should take at the detector.
        """
        if largest < 1 or target_s <= 0:
            raise ValueError("largest starts at 1, the target above 0 s")
        self._largest = largest
        self._target_s = target_s
        self._each_s: float | None = None

    def record(self, frames: int, seconds: float) -> None:
        """Record the seconds that a batch took at the detector, without its waiting."""
        each_s = seconds / frames
        self._each_s = each_s if self._each_s is None else self._each_s + _NEWEST * (each_s - self._each_s)

    @property
    def size(self) -> int:
        """Frames that the next batch may have."""
        if not self._each_s:
            return self._largest
        return max(1, min(self._largest, int(self._target_s / self._each_s)))
