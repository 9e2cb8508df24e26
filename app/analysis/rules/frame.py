"""Frame: what the rules see of a frame, which is what its event publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from app.core.event import DetectionEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class SeenObject(NamedTuple):
    """One detected object, with its numbers as published."""

    label: str
    confidence: float
    """In [0, 1], four decimals."""
    bbox: tuple[float, float, float, float]
    """x, y, width, height in pixels, two decimals; (x, y) is the top-left corner."""
    track_id: int | None


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of one camera."""

    camera_id: str
    time_ms: int
    """Capture time in milliseconds since 1970 UTC, as published: cut, not rounded."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    objects: tuple[SeenObject, ...]


def frame_of_event(event: DetectionEvent) -> Frame:
    """Return what the rules see of an event before it is published, rounded as its record will be."""
    return Frame(
        camera_id=event.camera_id,
        time_ms=event.captured_at_ns // 1_000_000,
        width=event.width,
        height=event.height,
        objects=tuple(
            SeenObject(
                one.label,
                round(min(1.0, max(0.0, one.confidence)), 4),
                (round(one.bbox[0], 2), round(one.bbox[1], 2), round(one.bbox[2], 2), round(one.bbox[3], 2)),
                one.track_id,
            )
            for one in event.objects
        ),
    )


def frame_of_published(body: Mapping[str, Any]) -> Frame:
    """Return what the rules see of a published event.

    Args:
        body: the record's value, parsed from JSON.

    Raises:
        KeyError, TypeError, ValueError: it is not an event.
    """
    size = body["frame"]
    return Frame(
        camera_id=body["camera_id"],
        time_ms=(datetime.fromisoformat(body["timestamp"]) - _EPOCH) // _MILLISECOND,
        width=size["width"],
        height=size["height"],
        objects=tuple(
            SeenObject(one["class"], one["confidence"], tuple(one["bbox"]), one["track_id"])
            for one in body["detections"]
        ),
    )
