"""How an event lies in the spool: JSON, so that a file somebody else wrote can be read and run nothing."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import fields

import orjson

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.errors import SpoolDamaged

_FIELDS = tuple(field.name for field in fields(DetectionEvent))
_ENCODER = json.JSONEncoder(separators=(",", ":"))
"""For what orjson does not take, or writes as null: such events go to quarantine as they are."""


def dump(event: DetectionEvent, due_at_ns: int | None = None) -> bytes:
    """Return an event's stored form.

    Args:
        event: what is stored.
        due_at_ns: when it should be at Kafka, nanoseconds since 1970 UTC; ``None``: its frame named no budget.
    """
    # As dataclasses.asdict, which copies each value and takes three times as long as the rest.
    values = {name: getattr(event, name) for name in _FIELDS}
    values["objects"] = [vars(one) for one in event.objects]
    values["latency"] = vars(event.latency)
    if due_at_ns is not None:
        values["due_at_ns"] = due_at_ns
    if event.anomalies or not _is_finite(event):
        return _ENCODER.encode(values).encode()
    try:
        return orjson.dumps(values)
    except orjson.JSONEncodeError:
        return _ENCODER.encode(values).encode()


def _is_finite(event: DetectionEvent) -> bool:
    sums = [sum(one.bbox) + one.confidence for one in event.objects]
    return math.isfinite(sum(sums) + sum(vars(event.latency).values()))


def load(body: bytes) -> tuple[DetectionEvent, int | None]:
    """Return an event, and when it should be at Kafka; ``None`` where that was not stored, as in older spools.

    Raises:
        SpoolDamaged: it is no stored event.
    """
    try:
        values = json.loads(body)
        due_at_ns = values.pop("due_at_ns", None)
        latency = StageLatencies(**values.pop("latency"))
        found = values.pop("objects")
        for one in found:
            one["bbox"] = tuple(one["bbox"])
        objects = tuple(DetectedObject(**one) for one in found)
        values["anomalies"] = tuple(values.get("anomalies", ()))
        return DetectionEvent(**values, objects=objects, latency=latency), None if due_at_ns is None else int(due_at_ns)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SpoolDamaged(f"a stored event cannot be read: {type(error).__name__}") from None


def digest(body: bytes) -> int:
    """Return the CRC-32 by which a body damaged on disk is found."""
    return zlib.crc32(body)
