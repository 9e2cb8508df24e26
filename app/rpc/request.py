"""DetectionRequest: one frame as it arrived at the service, checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.core.image_header import ImageHeader
from app.core.wanted import AS_CONFIGURED, Wanted


@dataclass(frozen=True)
class DetectionRequest:
    """A valid ``Detect`` call, with the times from which its budget and its latencies are measured."""

    camera_id: str
    frame_id: str
    image: bytes = field(repr=False)
    """One JPEG, PNG or WebP image, still encoded."""
    header: ImageHeader
    """The header of the image."""
    source_width: int
    """Width in pixels of the frame before any resize, after EXIF orientation."""
    source_height: int
    captured_at_ns: int
    """Capture time, nanoseconds since 1970 UTC, by the camera's clock."""
    arrived_at_ns: int
    """Arrival, nanoseconds since 1970 UTC, by this service's clock."""
    arrived: float
    """Arrival, seconds by this process's monotonic clock."""
    deadline: float
    """When the budget runs out, seconds by the same monotonic clock."""
    due_at_ns: int | None
    """When its event should be at Kafka, nanoseconds since 1970 UTC by this service's clock; ``None`` where the call
    names no budget."""
    epoch: int
    sequence: int
    encode_ms: float
    wanted: Wanted = AS_CONFIGURED
    traceparent: str = ""
    """W3C trace context of its span; empty where it is not traced."""
