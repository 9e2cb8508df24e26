"""ObservedFrame and TrackedFrame: the boxes of one frame, and the ids of the tracks that they belong to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

NO_TRACK = 0
"""The id of a box without a track; no track has it."""


class ObservedBox(NamedTuple):
    """One detected box."""

    left: float
    """Pixels of the source frame."""
    top: float
    right: float
    """At least ``left``."""
    bottom: float
    """At least ``top``."""
    score: float
    """In [0, 1]."""
    class_id: int


@dataclass(frozen=True)
class ObservedFrame:
    """What was detected in one frame of one camera, in any order.

    >>> frame = ObservedFrame(1_700_000_000_000_000_000, (ObservedBox(10, 20, 110, 220, 0.9, 2),))
    >>> len(frame.boxes)
    1

    Raises:
        ValueError: a number of a box is not finite.
    """

    captured_at_ns: int
    """Nanoseconds since 1970 UTC."""
    boxes: tuple[ObservedBox, ...]

    def __post_init__(self) -> None:
        for box in self.boxes:
            if not all(map(math.isfinite, box)):
                raise ValueError("a box or a score is not finite")


@dataclass(frozen=True)
class TrackedFrame:
    """The ids of a frame's boxes, and what became of the camera's tracks."""

    ids: tuple[int, ...]
    """In the order of the frame's boxes; ``NO_TRACK`` where a box has no track, or none with an id yet."""
    started: int
    """Number of tracks that got their id in this frame."""
    late: bool
    """Whether the frame was captured no later than the one before it, so that it was not tracked."""
