"""Frame: one picture of one camera, from its capture until it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from app.cameras.sources import RawFrame


@dataclass(frozen=True, eq=False)
class Frame:
    """One captured picture.

    Raises:
        ValueError: the image is not (H, W, 3) uint8, or ``captured_at`` carries no UTC offset.
    """

    camera_id: str
    """The camera that took it."""
    frame_id: str
    """Unique within its camera."""
    captured_at: datetime
    """UTC; when the decoder (or the simulator) returned the picture."""
    image: NDArray[np.uint8]
    """(H, W, 3) uint8, channels in the order blue, green, red."""

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"a frame is (H, W, 3) uint8, not {self.image.shape} {self.image.dtype}")
        if self.captured_at.utcoffset() is None:
            raise ValueError("captured_at must carry a time zone")
        object.__setattr__(self, "captured_at", self.captured_at.astimezone(UTC))

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """A frame that the sampling grid picked, waiting to be encoded."""

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
    """A frame as it is sent: one JPEG."""

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
    """Milliseconds for converting its pixels (where that was still to do), shrinking and encoding."""
