"""EventRecord: an event, or a record of another topic, as a Kafka record (``proto/README.md``, "The event")."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from app.core.channel import Channel
from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.core.iso_time import iso_time
from app.errors import DeliveryRefused
from app.publisher.spool.outbox import OutboxRecord

SCHEMA_VERSION = 1
EVENT_TYPE = "sightline.detection.v1"
RECORD_TYPES: Mapping[Channel, str] = {"anomalies": "sightline.anomaly.v1", "objects": "sightline.object.v1"}
"""CloudEvents type of the records of each channel."""
JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False)
"""How every record of ours is written."""


@dataclass(frozen=True)
class EventRecord:
    """An event as a Kafka record."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int
    """Capture time."""


def make_record(event: DetectionEvent, *, total_ms: float, replayed: bool = False) -> EventRecord:
    """Convert an event into a record, CloudEvents 1.0 in Kafka's binary mode.

    Args:
        event: the detections of one frame.
        total_ms: from capture to now, the hand-over to the Kafka client.
        replayed: whether it waited out an outage.

    Raises:
        DeliveryRefused: a number is NaN or infinite, a text is not Unicode, or the capture time is no date.
    """
    try:
        return _record(event, total_ms, replayed)
    except (ValueError, OverflowError, OSError, orjson.JSONEncodeError) as error:
        raise DeliveryRefused(f"the event of camera {event.camera_id!r} cannot be written: {error}") from None


def make_outbox_record(record: OutboxRecord) -> EventRecord:
    """Convert a record of another topic, CloudEvents 1.0 in Kafka's binary mode; the same whenever it is made."""
    return EventRecord(
        key=record.camera_id.encode(),
        value=record.body,
        headers=_headers(record.record_id, RECORD_TYPES[record.channel], record.camera_id, iso_time(record.time_ms)),
        timestamp_ms=record.time_ms,
    )


def crowded_record(detections: int) -> EventRecord:
    """Return a record as large as the event of a crowded frame can be, but for unusual names.

    Camera and frame id are as long as they may be, the model's name has 64 characters and each label 32 (COCO's longest
    has 14), boxes have four digits before the point, and tracks the longest ids.

    Args:
        detections: objects in the frame.
    """
    seen = DetectedObject("l" * 32, 9_999, 0.9999, (9999.99, 9999.99, 9999.99, 9999.99), 2**53 - 1)
    stages = StageLatencies(99_999.999, 99_999.999, 99_999.999, 99_999.999, 99_999.999)
    event = DetectionEvent("c" * 64, "f" * 256, 0, 99_999, 99_999, "m" * 64, (seen,) * detections, stages, True)
    return make_record(event, total_ms=99_999_999.999)


def _record(event: DetectionEvent, total_ms: float, replayed: bool) -> EventRecord:
    timestamp = iso_time(event.captured_at_ns // 1_000_000)
    return EventRecord(
        key=event.camera_id.encode(),
        value=_body(event, timestamp, total_ms, replayed),
        headers=_headers(event.event_id, EVENT_TYPE, event.camera_id, timestamp),
        timestamp_ms=event.captured_at_ns // 1_000_000,
    )


def _headers(record_id: str, kind: str, camera_id: str, time: str) -> tuple[tuple[str, bytes], ...]:
    headers = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": record_id,
        "ce_type": kind,
        "ce_source": f"/cameras/{camera_id}",
        "ce_time": time,
    }
    return tuple((name, value.encode()) for name, value in headers.items())


def _body(event: DetectionEvent, timestamp: str, total_ms: float, replayed: bool) -> bytes:
    latency = event.latency
    body: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "event_id": event.event_id,
        "timestamp": timestamp,
        "camera_id": event.camera_id,
        "frame_id": event.frame_id,
        "frame": {"width": event.width, "height": event.height},
        "model": event.model,
        "detections": [_object(one) for one in event.objects],
        "anomaly_type": event.anomaly_type,
        # They may hold what orjson does not take, or writes as null; and few frames have any.
        "anomalies": orjson.Fragment(JSON.encode(event.anomalies)) if event.anomalies else [],
        "image_url": event.image_url,
        "inference_latency_ms": _milliseconds(latency.inference),
        "latency_ms": {
            "encode": _milliseconds(latency.encode),
            "transport": _milliseconds(latency.transport),
            "queue": _milliseconds(latency.queue),
            "decode": _milliseconds(latency.decode),
            "inference": _milliseconds(latency.inference),
            "total": _milliseconds(total_ms),
        },
        "replayed": replayed,
    }
    if event.truncated:
        body["truncated"] = True
    return orjson.dumps(body)


def _object(found: DetectedObject) -> dict[str, object]:
    if not math.isfinite(sum(found.bbox)):
        raise ValueError("a box is not finite")  # orjson would write null
    return {
        "class": found.label,
        "class_id": found.class_id,
        "confidence": round(min(1.0, max(0.0, found.confidence)), 4),
        "bbox": [round(side, 2) for side in found.bbox],
        "track_id": found.track_id,
    }


def _milliseconds(value: float) -> float:
    """Round to microseconds; clocks may disagree, but no time is negative or endless."""
    return round(max(0.0, value), 3) if math.isfinite(value) else 0.0
