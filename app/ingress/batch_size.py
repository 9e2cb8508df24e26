"""BatchSizer: how many frames a batch may have, so that the first does not wait long for the last."""

from __future__ import annotations

_NEWEST = 0.2
"""Weight of the newest batch in the running mean."""


class BatchSizer:
    """Follows what a frame costs the detector, and fits batches to a time.

    A batch's answers come back together. On a GPU sixteen frames take hardly longer than one; on a CPU core each takes
    its own time, and a batch of sixteen would be older than the budget when it is done.
    """

    def __init__(self, most: int, target_s: float) -> None:
        """Make a sizer.

        Args:
            most: frames in a batch, however fast the detector is.
            target_s: seconds that a batch should take at the detector.
        """
        if most < 1 or target_s <= 0:
            raise ValueError("most starts at 1, the target above 0 s")
        self._most = most
        self._target_s = target_s
        self._each_s: float | None = None

    def note(self, frames: int, seconds: float) -> None:
        """Take what a batch took at the detector, its waiting left out."""
        each_s = seconds / frames
        self._each_s = each_s if self._each_s is None else self._each_s + _NEWEST * (each_s - self._each_s)

    @property
    def size(self) -> int:
        """Frames that the next batch may have."""
        if not self._each_s:
            return self._most
        return max(1, min(self._most, int(self._target_s / self._each_s)))
