"""Sights of the bundled model: what it finds in a trial's pictures."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from app.detection import Detector, DetectorOptions
from app.settings.paths import DEMO_MODEL
from app.simulation.street import Street
from tests.support.trials.trial import Trial
from tests.support.trials.verdict import Sight

LOW = 0.1
"""Score below which the tracker gets no box."""
QUALITY = 85
_LEAST_OVERLAP = 0.5
"""Intersection over union from which a box is that of a true road user."""


@cache
def _detector() -> Detector:
    return Detector(DetectorOptions(model=str(DEMO_MODEL), confidence=LOW))


def detected_sights(trial: Trial) -> list[Sight]:
    """Return what the bundled model finds in the trial's pictures, as JPEG."""
    street = Street(trial.spec)
    sights = []
    for index in trial.frames():
        frame = street.frame(index)
        jpeg = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        found = _detector().detect([jpeg])[0]
        boxes, truth = found.boxes.astype(np.float64), frame.truth
        overlap = _overlaps(boxes, truth.boxes.astype(np.float64))
        identities = np.zeros(len(boxes), np.int64)
        if overlap.size:
            best = overlap.argmax(axis=1)
            sure = overlap.max(axis=1) >= _LEAST_OVERLAP
            identities[sure] = truth.identities[best[sure]]
        scores = found.scores.astype(np.float64)
        sights.append(Sight(index / trial.spec.fps, boxes, scores, found.class_ids.astype(np.int64), identities))
    return sights


def _overlaps(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the intersection over union of (N, 4) and (M, 4) boxes as (N, M)."""
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=2)
    area, true_area = (np.prod(one[:, 2:] - one[:, :2], axis=1) for one in (boxes, truth))
    return np.asarray(common / np.maximum(area[:, None] + true_area - common, 1e-9))
