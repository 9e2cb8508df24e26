"""ObjectReport: one object as it is published."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.analysis.objects.state import Crossing, Life, PathPoint
from app.core.iso_time import iso_time

_NAMESPACE = uuid.UUID("3d6f3a52-2c0f-5a52-9d6e-5b1c3f6a7e02")
"""Never changes: object ids are derived under it."""
PATH_POINTS = 32

State = Literal["new", "update", "end"]
Reason = Literal["track_lost", "camera_lost"]


@dataclass(frozen=True, slots=True)
class ObjectReport:
    """One object as of one frame."""

    object_id: str
    camera_id: str
    track_id: int
    state: State
    reason: Reason | None
    """Why it ended."""
    label: str
    """The class most frames gave it."""
    confidence: float
    """The greatest."""
    first_ms: int
    """Capture time in milliseconds since 1970 UTC."""
    last_ms: int
    """When it was last seen."""
    bbox: tuple[float, float, float, float]
    """x, y, width, height in pixels when it was last seen."""
    moving: bool
    path: tuple[PathPoint, ...]
    """At most 32 points, the first and the last among them."""
    zones: Mapping[str, float]
    """Seconds in each zone it was in."""
    in_zones: tuple[str, ...]
    """Zones it is in."""
    lines: tuple[Crossing, ...]
    """Lines it crossed; the last 32."""


def make_object_id(camera_id: str, track_id: int) -> str:
    """Return the UUIDv5 of ``camera_id|track_id``, an id that a camera never gives twice.

    >>> make_object_id("gate-1", 42)
    '0009ecf7-1205-5d93-bcbb-35a56cece5bf'
    """
    return str(uuid.uuid5(_NAMESPACE, f"{camera_id}|{track_id}"))


def object_body(report: ObjectReport) -> dict[str, object]:
    """Return the fields of an object as they are published, in their order.

    Times are ISO 8601 in UTC; a point of the path is seconds since ``first_seen``, x and y.
    """
    return {
        "object_id": report.object_id,
        "camera_id": report.camera_id,
        "track_id": report.track_id,
        "state": report.state,
        "reason": report.reason,
        "class": report.label,
        "confidence": report.confidence,
        "first_seen": iso_time(report.first_ms),
        "last_seen": iso_time(report.last_ms),
        "bbox": list(report.bbox),
        "moving": report.moving,
        "path": [[(time_ms - report.first_ms) / 1000, x, y] for time_ms, x, y in report.path],
        "zones": dict(report.zones),
        "in_zones": list(report.in_zones),
        "lines": [
            {"line": line, "direction": direction, "at": iso_time(time_ms)} for line, direction, time_ms in report.lines
        ],
    }


def shown(place: tuple[float, float]) -> tuple[float, float]:
    """Return a place of the path as it is published."""
    x, y = place
    return round(x, 4), round(y, 4)


def make_report(camera_id: str, track_id: int, life: Life, state: State, reason: Reason | None = None) -> ObjectReport:
    """Return an object as it is published."""
    path = life.path
    if path[-1][0] != life.last_ms:
        path = (*path, (life.last_ms, *shown(life.here)))
    return ObjectReport(
        object_id=make_object_id(camera_id, track_id),
        camera_id=camera_id,
        track_id=track_id,
        state=state,
        reason=reason,
        label=life.label,
        confidence=life.confidence,
        first_ms=life.first_ms,
        last_ms=life.last_ms,
        bbox=life.bbox,
        moving=not life.stands,
        path=path,
        zones={zone: stayed_ms / 1000 for zone, stayed_ms in life.stayed},
        in_zones=life.inside,
        lines=life.crossings,
    )
