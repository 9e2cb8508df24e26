"""The model that every contestant runs: Sightline's own detector on decoded frames, or none at all."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NO_OP = "no-op"


class Model:
    """Runs a batch of frames of one size; the same network in the same form for all contestants."""

    def __init__(self, name: str, threads: int) -> None:
        self._detector = None
        if name != NO_OP:
            from app.detection import Detector, DetectorOptions

            self._detector = Detector(DetectorOptions(model=name, device="cpu", threads=threads))
            self._detector.warm_up()

    def run(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[list[list[float]], float]:
        """Return each frame's boxes as plain numbers, and the milliseconds it took."""
        if self._detector is None:
            return [[] for _ in frames], 0.0
        began = time.perf_counter()
        found = self._detector.detect_decoded(frames)
        boxes = [seen.boxes.ravel().tolist() for seen in found]
        return boxes, (time.perf_counter() - began) * 1000
