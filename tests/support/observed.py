"""Boxes in arrays as the tracker takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.analysis.tracking.frame import ObservedBox


def observed_boxes(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], class_ids: NDArray[np.integer]
) -> tuple[ObservedBox, ...]:
    """Return (N, 4) boxes, x1 y1 x2 y2 in pixels, with their (N,) scores and class ids."""
    rows = zip(boxes.tolist(), scores.tolist(), class_ids.tolist(), strict=True)
    return tuple(ObservedBox(*box, score, class_id) for box, score, class_id in rows)
