"""Pictures for the detector's tests."""

from __future__ import annotations

import cv2
import numpy as np

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
