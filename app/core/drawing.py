"""Drawing: a frame with the boxes of its detections."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.core.event import DetectedObject
from app.core.read_failure import read_failure
from app.errors import SightlineError

SHOWN_IDS = 10_000
"""Of a track's id its last four digits are drawn: those of a camera at one time differ nearly always."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(
    image: NDArray[np.uint8],
    objects: Iterable[DetectedObject],
    trails: Mapping[int, Sequence[tuple[float, float]]] | None = None,
) -> NDArray[np.uint8]:
    """Return a copy of an image with a labelled box around each object.

    Args:
        image: (H, W, 3) uint8 BGR.
        objects: their boxes are in pixels of the image.
        trails: where an object was before, by its track; x and y in pixels, oldest first.
    """
    canvas = image.copy()
    scale = max(0.4, image.shape[0] / 1080)
    for detected in objects:
        if trails and detected.track_id is not None and detected.track_id in trails:
            _draw_trail(canvas, trails[detected.track_id], _colour(detected.label), scale)
        _draw_box(canvas, detected, scale)
    return canvas


def encode(image: NDArray[np.uint8], quality: int = 90) -> bytes:
    """Return a (H, W, 3) uint8 BGR image as a JPEG; ``quality`` is 1 to 100."""
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def write(image: NDArray[np.uint8], path: Path) -> None:
    """Write a (H, W, 3) uint8 BGR image in the format of the path's suffix.

    Raises:
        SightlineError: the suffix is unknown, or the folder cannot be written to.
    """
    try:
        encoded, data = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, 88])
    except cv2.error:
        raise SightlineError(f"{path.suffix!r} is not the suffix of an image; allowed are .jpg and .png") from None
    if not encoded:
        raise SightlineError(f"the image cannot be encoded as {path.suffix!r}")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise SightlineError(f"{str(path)!r} cannot be written: {read_failure(error)}") from None


def _draw_box(canvas: NDArray[np.uint8], detected: DetectedObject, scale: float) -> None:
    x, y, width, height = (round(side) for side in detected.bbox)
    colour = _colour(detected.label)
    thickness = max(1, round(2 * scale))
    cv2.rectangle(canvas, (x, y), (x + width, y + height), colour, thickness, cv2.LINE_AA)
    text = f"{detected.label} {detected.confidence:.2f}"
    if detected.track_id is not None:
        text += f" #{detected.track_id % SHOWN_IDS}"
    (text_width, text_height), base = cv2.getTextSize(text, _FONT, 0.7 * scale, thickness)
    top = y - text_height - base if y > text_height + base else y
    cv2.rectangle(canvas, (x, top), (x + text_width + 2, top + text_height + base), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x + 1, top + text_height), _FONT, 0.7 * scale, (255, 255, 255), thickness, cv2.LINE_AA)


def _draw_trail(
    canvas: NDArray[np.uint8], points: Sequence[tuple[float, float]], colour: tuple[int, int, int], scale: float
) -> None:
    line = np.array(points).round().astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [line], False, colour, max(1, round(2 * scale)), cv2.LINE_AA)


def _colour(label: str) -> tuple[int, int, int]:
    """Return a label's own colour (blue, green, red): dark enough for white letters, and the same in every run."""
    hue = zlib.crc32(label.encode()) % 360 / 360
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.72)
    return round(blue * 255), round(green * 255), round(red * 255)
