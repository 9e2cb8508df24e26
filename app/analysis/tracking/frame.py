"""ObservedFrame and TrackedFrame: the boxes of one frame, and the ids of the tracks that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_TRACK = 0
"""The id of a box without a track; no track has it."""


@dataclass(frozen=True, eq=False)
class ObservedFrame:
    """What was detected in one frame of one camera, in any order.

    >>> frame = ObservedFrame(
    ...     captured_at_ns=1_700_000_000_000_000_000,
    ...     boxes=np.array([[10, 20, 110, 220]], float),
    ...     scores=np.array([0.9]),
    ...     class_ids=np.array([2]),
    ... )
    >>> len(frame)
    1

    Raises:
        ValueError: shapes or lengths disagree, or a box or score is not finite.
    """

    captured_at_ns: int
    """Nanoseconds since 1970 UTC."""
    boxes: NDArray[np.floating]
    """(N, 4) float, x1 y1 x2 y2 in pixels of the source frame, x1 ≤ x2 and y1 ≤ y2."""
    scores: NDArray[np.floating]
    """(N,) float in [0, 1]."""
    class_ids: NDArray[np.integer]
    """(N,) int."""

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.class_ids.shape != (count,) or self.scores.ndim != 1:
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape} and class ids "
                f"{self.class_ids.shape} do not describe the same objects"
            )
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            raise ValueError("a box or a score is not finite")

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """The ids of a frame's boxes, and what became of the camera's tracks."""

    ids: NDArray[np.int64]
    """(N,) int64, in the order of the frame's boxes; ``NO_TRACK`` where a box has no track, or none with an id yet."""
    started: int
    """Number of tracks that got their id in this frame."""
    late: bool
    """Whether the frame was captured no later than the one before it, so that it was not tracked."""
