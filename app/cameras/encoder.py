"""Encoder: a sampled frame becomes the JPEG that is sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from app.cameras.sources import RawFrame
from app.errors import ImageError
from app.frames import Frame
from app.images import MAX_ENCODED_BYTES, MAX_PIXELS


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """A frame that a grid point picked, waiting for its turn."""

    camera_id: str
    frame_id: str
    raw: RawFrame
    epoch: int
    sequence: int
    """Rising within the epoch, from 1."""

    @property
    def captured(self) -> float:
        """Monotonic seconds; the start of its latency budget."""
        return self.raw.captured.monotonic


@dataclass(frozen=True)
class EncodedFrame:
    """A frame as it is sent."""

    camera_id: str
    frame_id: str
    epoch: int
    sequence: int
    captured_at: datetime
    """UTC."""
    captured: float
    """Monotonic seconds; the start of its latency budget."""
    jpeg: bytes = field(repr=False)
    source_width: int
    """Pixels, before it was shrunk."""
    source_height: int
    encode_ms: float
    """What making its pixels (where that was left), shrinking and encoding took."""


class Encoder:
    """Shrinks to ``max_side`` (never enlarges) and encodes as JPEG; without state, so usable by threads."""

    def __init__(
        self, max_side: int | None, jpeg_quality: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_side = max_side
        self._parameters = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
        self._monotonic = monotonic

    def encode(self, sampled: SampledFrame) -> EncodedFrame:
        """Encode a frame.

        Raises:
            ImageError: it has no JPEG form, or one that is over the service's limits.
            SourceUnavailable: its pixels cannot be decoded.
        """
        began = self._monotonic()
        raw = sampled.raw
        frame = Frame(sampled.camera_id, sampled.frame_id, raw.captured.at, raw.image)
        jpeg = self._compress(self._shrink(frame.image))
        return EncodedFrame(
            camera_id=frame.camera_id,
            frame_id=frame.frame_id,
            epoch=sampled.epoch,
            sequence=sampled.sequence,
            captured_at=frame.captured_at,
            captured=sampled.captured,
            jpeg=jpeg,
            source_width=frame.width,
            source_height=frame.height,
            encode_ms=(self._monotonic() - began) * 1000,
        )

    def _shrink(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        longest = max(height, width)
        if self._max_side is None or longest <= self._max_side:
            return image
        scale = self._max_side / longest
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        shape = f"{image.shape[1]} × {image.shape[0]} pixels"
        if image.shape[0] * image.shape[1] > MAX_PIXELS:
            raise ImageError(f"a frame of {shape} is over {MAX_PIXELS} pixels; max_side would shrink it")
        try:
            done, data = cv2.imencode(".jpg", image, self._parameters)
        except cv2.error:
            done = False
        if not done:
            raise ImageError(f"a frame of {shape} cannot be encoded as JPEG")
        if data.nbytes > MAX_ENCODED_BYTES:
            raise ImageError(f"a frame of {shape} is over {MAX_ENCODED_BYTES} bytes; max_side would shrink it")
        return data.tobytes()
