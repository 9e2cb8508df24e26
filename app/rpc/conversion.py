"""Conversion of protobuf messages into Sightline's types and back; nothing else does it."""

from __future__ import annotations

import math
import uuid

from app.core.clock import Clock
from app.core.event import DetectedObject, DetectionEvent
from app.core.image_header import ImageHeader, probe
from app.core.wanted import DEFAULT_MODEL, Wanted
from app.errors import RequestError
from app.rpc.request import DetectionRequest
from app.rpc.serving import UnreadableRequest
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.cameras import CAMERA_ID

MAX_FUTURE_S = 60.0
"""Seconds that a capture time may lie in the future, for clocks that differ."""
MAX_SHAPE_DIFFERENCE = 0.02
"""How far the source's aspect ratio may differ from the image's, as a share."""
REQUEST_TIMEOUT_S = 10.0
"""Budget of a request that names none, and the largest that counts."""
_MAX_FRAME_ID = 256
_MAX_SIDE = 1 << 20
_MAX_CLASSES, _MAX_LABEL = 10_000, 256


def read_request(
    message: pb.DetectRequest | UnreadableRequest, clock: Clock, max_age_s: float = math.inf
) -> DetectionRequest:
    """Check a request and return it as our own type.

    Args:
        message: what came.
        clock: this process's.
        max_age_s: seconds that the capture time may lie in the past.

    Raises:
        RequestError: a field breaks the contract; the text names the field.
        ImageError: the image is not one that is allowed, or over a limit.
    """
    if isinstance(message, UnreadableRequest):
        raise RequestError(f"the message of {message.length} bytes is no DetectRequest")
    arrived, arrived_at_ns = clock.monotonic(), clock.wall_ns()
    if not CAMERA_ID.fullmatch(message.camera_id):
        raise RequestError(f"camera_id {_abbreviated(message.camera_id)} is not allowed: {CAMERA_ID.pattern}")
    if len(message.frame_id) > _MAX_FRAME_ID:
        raise RequestError(f"frame_id has {len(message.frame_id)} characters; allowed are {_MAX_FRAME_ID}")
    captured_at_ns = _captured_at(message, arrived_at_ns, max_age_s)
    header = probe(message.image)
    width, height = _source_size(message, header)
    budget_s = message.latency_budget_ms / 1000 or REQUEST_TIMEOUT_S
    return DetectionRequest(
        camera_id=message.camera_id,
        frame_id=message.frame_id or uuid.uuid4().hex,
        image=message.image,
        header=header,
        source_width=width,
        source_height=height,
        captured_at_ns=captured_at_ns,
        arrived_at_ns=arrived_at_ns,
        arrived=arrived,
        deadline=arrived + min(budget_s, REQUEST_TIMEOUT_S),
        due_at_ns=arrived_at_ns + message.latency_budget_ms * 1_000_000 if message.latency_budget_ms else None,
        epoch=message.epoch,
        sequence=message.sequence,
        encode_ms=_encode_ms(message),
        wanted=_wanted(message),
    )


def write_response(event: DetectionEvent, total_ms: float, max_fps: float | None = None) -> pb.DetectResponse:
    """Return the response for an accepted frame.

    Args:
        event: what was detected.
        total_ms: from capture to this answer.
        max_fps: how often its camera is asked to send at most, frames per second; ``None``: nothing is said of it.
    """
    return pb.DetectResponse(
        event_id=event.event_id,
        camera_id=event.camera_id,
        frame_id=event.frame_id,
        detections=[_detection(detected) for detected in event.objects],
        model=event.model,
        inference_latency_ms=event.latency.inference,
        latency=pb.StageLatency(
            transport_ms=event.latency.transport,
            queue_ms=event.latency.queue,
            decode_ms=event.latency.decode,
            inference_ms=event.latency.inference,
            total_ms=total_ms,
        ),
        max_fps=max_fps,
    )


def _detection(detected: DetectedObject) -> pb.Detection:
    x, y, width, height = detected.bbox
    return pb.Detection(
        label=detected.label,
        class_id=detected.class_id,
        confidence=detected.confidence,
        bbox=pb.BoundingBox(x=x, y=y, width=width, height=height),
        track_id=detected.track_id,
    )


def _captured_at(message: pb.DetectRequest, arrived_at_ns: int, max_age_s: float) -> int:
    if not message.HasField("captured_at"):
        return arrived_at_ns
    stamp = message.captured_at
    if not 0 <= stamp.nanos < 1_000_000_000 or stamp.seconds < 0:
        raise RequestError("captured_at is not a time since 1970")
    captured_at_ns = stamp.seconds * 1_000_000_000 + stamp.nanos
    ahead_s = (captured_at_ns - arrived_at_ns) / 1e9
    if ahead_s > MAX_FUTURE_S:
        raise RequestError(f"captured_at lies {ahead_s:.0f} s in the future; allowed are {MAX_FUTURE_S:.0f} s")
    if -ahead_s > max_age_s:
        raise RequestError(
            f"captured_at lies {-ahead_s:.0f} s in the past; allowed are {max_age_s:.0f} s (kafka.max_event_age)"
        )
    return captured_at_ns


def _source_size(message: pb.DetectRequest, header: ImageHeader) -> tuple[int, int]:
    width, height = message.source_width, message.source_height
    if not width and not height:
        return header.width, header.height
    if not width or not height:
        raise RequestError("source_width and source_height come together: both or neither")
    if width > _MAX_SIDE or height > _MAX_SIDE:
        raise RequestError(f"source {width}x{height} is over {_MAX_SIDE} pixels a side")
    if not _same_shape(width, height, header):
        raise RequestError(f"source {width}x{height} has another shape than the image's {header.width}x{header.height}")
    return width, height


def _same_shape(width: int, height: int, header: ImageHeader) -> bool:
    """Return whether the aspect ratios agree, but for what rounding to whole pixels can explain."""
    by_width, by_height = header.width / width, header.height / height
    rounding = 1.0 / min(header.width, header.height) if max(by_width, by_height) < 1 else 0.0
    return abs(by_width / by_height - 1.0) <= max(MAX_SHAPE_DIFFERENCE, rounding)


def _encode_ms(message: pb.DetectRequest) -> float:
    if not math.isfinite(message.encode_ms) or message.encode_ms < 0:
        raise RequestError("encode_ms is not a time")
    return message.encode_ms


def _wanted(message: pb.DetectRequest) -> Wanted:
    confidence = message.confidence if message.HasField("confidence") else None
    if confidence is not None and not 0 <= confidence <= 1:  # nor is it nan
        raise RequestError(f"confidence {confidence:g} is not allowed: 0 to 1")
    if len(message.classes) > _MAX_CLASSES:
        raise RequestError(f"classes has {len(message.classes)} labels; allowed are {_MAX_CLASSES}")
    longest = max(map(len, message.classes), default=0)
    if longest > _MAX_LABEL:
        raise RequestError(f"classes has a label of {longest} characters; allowed are {_MAX_LABEL}")
    return Wanted(confidence, tuple(message.classes), message.model or DEFAULT_MODEL, not message.untracked)


def _abbreviated(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
