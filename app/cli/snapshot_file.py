"""SavedSnapshot: one frame of a running camera, written with the boxes of its event."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.core import drawing
from app.core.event import DetectedObject
from app.errors import SightlineError
from app.web.client import ApiClient, Snapshot

TRAIL = timedelta(seconds=3)
"""How far back the trail of an object reaches."""


@dataclass(frozen=True)
class SavedSnapshot:
    """One frame that was written."""

    path: str
    camera_id: str
    frame_id: str
    event_id: str | None
    """``None``, as are the next two, where the frame became no event."""
    detections: int | None
    """How many objects were detected in it."""
    total_ms: float | None
    """From capture until the event was durable."""

    @classmethod
    def of(cls, snapshot: Snapshot, camera_id: str, path: Path) -> SavedSnapshot:
        """Describe a frame and its event."""
        if snapshot.event is None:
            return cls(str(path), camera_id, snapshot.frame_id, None, None, None)
        event = snapshot.event
        count, total_ms = len(event.detections), event.latency_ms.total
        return cls(str(path), camera_id, snapshot.frame_id, event.event_id, count, total_ms)

    def as_line(self) -> str:
        """Return it as a line for a person."""
        frame = f"{self.path}: frame {self.frame_id} of {self.camera_id}"
        if self.event_id is None:
            return f"{frame}, which became no event"
        return f"{frame}, {self.detections} objects, {self.total_ms:.0f} ms"

    def as_json(self) -> str:
        """Return it as a JSON document."""
        return json.dumps(asdict(self))


def write_snapshot(client: ApiClient, camera_id: str, path: Path) -> SavedSnapshot:
    """Write the newest frame of a camera with its boxes.

    Raises:
        SightlineError: no system, camera or frame, or the file cannot be written.
    """
    snapshot = client.snapshot(camera_id)
    drawing.write(draw_boxes(snapshot), path)
    return SavedSnapshot.of(snapshot, camera_id, path)


def draw_boxes(snapshot: Snapshot) -> NDArray[np.uint8]:
    """Return the frame with its boxes, (H, W, 3) uint8 BGR, in the size in which it was sent.

    Raises:
        SightlineError: the frame is not an image.
    """
    image = cv2.imdecode(np.frombuffer(snapshot.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise SightlineError(f"frame {snapshot.frame_id} is not an image")
    picture = np.asarray(image, np.uint8)
    width, height = picture.shape[1], picture.shape[0]
    return drawing.draw(picture, _objects(snapshot, width, height), _trails(snapshot, width, height))


def _trails(snapshot: Snapshot, width: int, height: int) -> dict[int, list[tuple[float, float]]]:
    """Return where the foot of each tracked object's box was lately, oldest first, in pixels of the image."""
    trails: dict[int, list[tuple[float, float]]] = defaultdict(list)
    events = (*snapshot.before[::-1], snapshot.event)
    for event in events:
        if event is None or snapshot.event is None or snapshot.event.timestamp - event.timestamp > TRAIL:
            continue
        scale_x, scale_y = width / event.frame.width, height / event.frame.height
        for detection in event.detections:
            x, y, wide, high = detection.bbox
            if detection.track_id is not None:
                trails[detection.track_id].append(((x + wide / 2) * scale_x, (y + high) * scale_y))
    return dict(trails)


def _objects(snapshot: Snapshot, width: int, height: int) -> list[DetectedObject]:
    """Return the boxes in pixels of the image that was sent, which may be smaller than the captured frame."""
    if snapshot.event is None:
        return []
    scale_x, scale_y = width / snapshot.event.frame.width, height / snapshot.event.frame.height
    return [
        DetectedObject(
            detection.label,
            detection.class_id,
            detection.confidence,
            (
                detection.bbox[0] * scale_x,
                detection.bbox[1] * scale_y,
                detection.bbox[2] * scale_x,
                detection.bbox[3] * scale_y,
            ),
            detection.track_id,
        )
        for detection in snapshot.event.detections
    ]
