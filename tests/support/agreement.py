"""Agreement: whether two ways to run a model detect the same."""

from __future__ import annotations

import numpy as np

from app.detection.detections import Detections


def agree(ours: Detections, expected: Detections, pixels: float = 1.0) -> None:
    """Compare as sets: scores that differ in the last digit may change places."""
    assert len(ours) == len(expected)
    left = set(range(len(expected)))
    for box, score, label in zip(ours.boxes, ours.scores, ours.class_ids, strict=True):
        near = [
            index
            for index in left
            if expected.class_ids[index] == label
            and abs(expected.scores[index] - score) < 0.01
            and np.abs(expected.boxes[index] - box).max() < pixels
        ]
        assert near, f"no counterpart for {label} {score} {box}"
        left.remove(near[0])
