"""How an event lies in the spool: JSON, so that a file somebody else wrote can be read and run nothing."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.errors import SpoolDamaged


def dump(event: DetectionEvent) -> bytes:
    """Return an event's stored form."""
    return json.dumps(asdict(event), separators=(",", ":")).encode()


def load(body: bytes) -> DetectionEvent:
    """Return the event that was stored.

    Raises:
        SpoolDamaged: it is no stored event.
    """
    try:
        values = json.loads(body)
        latency = StageLatencies(**values.pop("latency"))
        objects = tuple(DetectedObject(**{**one, "bbox": tuple(one["bbox"])}) for one in values.pop("objects"))
        return DetectionEvent(**values, objects=objects, latency=latency)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SpoolDamaged(f"a stored event cannot be read: {type(error).__name__}") from None


def digest(body: bytes) -> int:
    """Return the CRC-32 by which a body damaged on disk is found."""
    return zlib.crc32(body)
