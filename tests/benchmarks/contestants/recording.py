"""The recording that every contestant watches: a simulated street, encoded once for a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.simulation.spec import StreetSpec
from app.simulation.street import Street

FRAMES = 120


def record(path: Path, width: int, height: int, fps: float) -> Path:
    """Write some seconds of the street as Motion JPEG, of which each frame costs every contestant the same."""
    street = Street(StreetSpec(seed=7, width=width, height=height, fps=fps))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for number in range(FRAMES):
        writer.write(street.frame(number).image)
    writer.release()
    return path


def frames_of(path: str) -> Iterator[NDArray[np.uint8]]:
    """Return the frames of a recording for ever, as fast as they are asked for."""
    while True:
        capture = cv2.VideoCapture(path)
        while (read := capture.read())[0]:
            yield read[1]
        capture.release()
