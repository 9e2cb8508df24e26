"""DetectionEvent: what was detected in one frame."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_NAMESPACE = uuid.UUID("6f2b9c1e-6a55-5d0e-9a43-1d6f0c1c7b52")
"""Never changes: event ids are derived under it."""


@dataclass(frozen=True)
class StageLatencies:
    """Where a frame's time went until its event was built, in milliseconds; the stages of ``EVENT_STAGES``."""

    encode: float
    transport: float
    queue: float
    decode: float
    inference: float


@dataclass(frozen=True)
class DetectedObject:
    """One object that was detected in a frame."""

    label: str
    class_id: int
    confidence: float
    """In [0, 1]."""
    bbox: tuple[float, float, float, float]
    """x, y, width, height in pixels of the source frame; (x, y) is the top-left corner."""
    track_id: int | None = None
    """Which object of its camera it is, below 2⁵³; None where it is not tracked."""


class WeakDetection(NamedTuple):
    """A box that the model is not sure of: no event shows it, and it only helps to follow an object."""

    class_id: int
    confidence: float
    """In [0, 1]."""
    bbox: tuple[float, float, float, float]
    """x, y, width, height in pixels of the source frame; (x, y) is the top-left corner."""


@dataclass(frozen=True)
class DetectionEvent:
    """What was detected in one frame of one camera."""

    camera_id: str
    frame_id: str
    captured_at_ns: int
    """Nanoseconds since 1970 UTC."""
    width: int
    """Pixels of the source frame."""
    height: int
    model: str
    objects: tuple[DetectedObject, ...]
    latency: StageLatencies
    truncated: bool = False
    """Whether the limit of detections a frame was reached, so that there may be more objects."""
    anomaly_type: str | None = None
    """The type of the most severe incident that goes on or is momentary; None: there is none."""
    anomalies: tuple[Mapping[str, object], ...] = ()
    """Incidents that begin, change, end or go on, as they are published."""
    image_url: str | None = None
    """Where the picture of the frame is stored, of which an incident that begins with it has made evidence."""

    @functools.cached_property
    def event_id(self) -> str:
        """The id of the event: always the same for one camera, frame and capture time."""
        return make_event_id(self.camera_id, self.frame_id, self.captured_at_ns)

    def with_track_ids(self, track_ids: Sequence[int | None]) -> DetectionEvent:
        """Return the event with the tracks of its objects, in their order; without any it is the same.

        Raises:
            ValueError: there are some, and not one for each object.
        """
        if not any(track_ids):
            return self
        objects = tuple(
            DetectedObject(one.label, one.class_id, one.confidence, one.bbox, track_id)
            for one, track_id in zip(self.objects, track_ids, strict=True)
        )
        return self._with(objects=objects)

    def with_incidents(
        self, anomaly_type: str | None, anomalies: tuple[Mapping[str, object], ...], image_url: str | None
    ) -> DetectionEvent:
        """Return the event with what happened; the arguments are as the fields."""
        return self._with(anomaly_type=anomaly_type, anomalies=anomalies, image_url=image_url)

    def _with(self, **changes: object) -> DetectionEvent:
        """Return the event with other values of some fields, none of which its id depends on.

        In an eighth of the time of ``dataclasses.replace``, which also derives the id anew.
        """
        changed = object.__new__(DetectionEvent)
        changed.__dict__.update(self.__dict__, **changes)
        return changed


def make_event_id(camera_id: str, frame_id: str, captured_at_ns: int) -> str:
    """Return the UUIDv5 of ``camera_id|frame_id|captured_at in ns`` under Sightline's namespace."""
    return str(uuid.uuid5(_NAMESPACE, f"{camera_id}|{frame_id}|{captured_at_ns}"))
