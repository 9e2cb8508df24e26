"""Detections: the objects that the model found in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects of one image, best score first.

    >>> import numpy as np
    >>> found = Detections(
    ...     boxes=np.array([[10, 20, 110, 220]], np.float32),
    ...     scores=np.array([0.9], np.float32),
    ...     class_ids=np.array([2], np.int64),
    ... )
    >>> len(found)
    1

    Raises:
        ValueError: shapes or lengths disagree.
    """

    boxes: NDArray[np.float32]
    """(N, 4) float32, x1 y1 x2 y2 in pixels of the source image, clipped to it."""
    scores: NDArray[np.float32]
    """(N,) float32 in [0, 1]."""
    class_ids: NDArray[np.int64]
    """(N,) int64, index into the model's labels."""
    truncated: bool = False
    """Whether the limit of detections an image was reached, so that there may be more objects."""
    weak: Detections | None = None
    """Boxes whose score is too low for a detection, best first; ``None``: there are none, or none were asked for."""

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.class_ids.shape != (count,) or self.scores.ndim != 1:
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape} and class ids "
                f"{self.class_ids.shape} do not describe the same objects"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def part(self, chosen: slice) -> Detections:
        """Return some of the objects."""
        return Detections(self.boxes[chosen], self.scores[chosen], self.class_ids[chosen])

    @classmethod
    def empty(cls) -> Detections:
        """Return the detections of an image without objects."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
