"""Pictures for the detector's tests."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np

from app.detection.detections import Detections

SIZE = 160


def scene(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Draw a picture with structure, so that an untrained network answers with varied boxes."""
    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), 90, np.uint8)
    for _ in range(30):
        x, y = int(random.integers(0, width)), int(random.integers(0, height))
        w, h = int(random.integers(8, max(9, width // 3))), int(random.integers(8, max(9, height // 3)))
        cv2.rectangle(image, (x, y), (x + w, y + h), [int(c) for c in random.integers(0, 256, 3)], -1)
    return cv2.add(image, random.integers(0, 20, image.shape, dtype=np.uint8))


def png(image: np.ndarray) -> bytes:
    """Encode without loss."""
    return cv2.imencode(".png", image)[1].tobytes()


PICTURES = [
    scene(320, 180, 1),
    scene(200, 333, 2),
    scene(160, 160, 3),
    scene(640, 360, 4),
    scene(641, 321, 5),
]


def predict(file: Path, picture: np.ndarray, **options: object) -> Detections:
    """Return what Ultralytics' own ``predict`` finds in a picture."""
    from ultralytics import YOLO

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        boxes = YOLO(str(file), task="detect").predict(picture, verbose=False, device="cpu", **options)[0].boxes
    return Detections(boxes.xyxy.numpy(), boxes.conf.numpy(), boxes.cls.numpy().astype(np.int64))
