"""FrameHistory: the last frames of a camera and what was seen in them, kept for whoever wants to look."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from app.cameras.frame import EncodedFrame
from app.cameras.outcome import Outcome
from app.cameras.rate import per_second
from app.core.event import DetectedObject
from app.rpc.sightline.inference.v1 import inference_pb2 as pb

KEPT_FRAMES = 64
"""Frames of which what was seen is kept."""
KEPT_LATENCIES = 256
"""Frames whose times are kept, for quantiles."""


@dataclass(frozen=True)
class FrameLatency:
    """Where an accepted frame's time went, in milliseconds; the stages add up to the total."""

    encode: float
    transport: float
    queue: float
    decode: float
    inference: float
    commit: float
    """From the model's answer until the event was durable."""
    total: float
    """From capture until the event was durable."""


@dataclass(frozen=True)
class AnsweredFrame:
    """What was seen in one accepted frame."""

    number: int
    """Rising within one life of the camera's actor."""
    camera_id: str
    frame_id: str
    event_id: str
    captured_at: datetime
    """UTC."""
    width: int
    """Pixels of the source frame."""
    height: int
    model: str
    objects: tuple[DetectedObject, ...]
    latency: FrameLatency


@dataclass(frozen=True)
class Picture:
    """The newest frame that was answered, as it was sent."""

    camera_id: str
    frame_id: str
    captured_at: datetime
    """UTC."""
    accepted: bool
    """Whether there is an event of it."""
    jpeg: bytes = field(repr=False)


class FrameHistory:
    """Keeps the last frames; costs a camera a few references a frame. Used from one event loop."""

    def __init__(self) -> None:
        self._seen: deque[AnsweredFrame] = deque(maxlen=KEPT_FRAMES)
        self._latencies: deque[FrameLatency] = deque(maxlen=KEPT_LATENCIES)
        self._accepted_at: deque[float] = deque(maxlen=64)
        self._number = 0
        self.picture: Picture | None = None

    def note(self, frame: EncodedFrame, outcome: Outcome, now: float) -> None:
        """Take a frame and what became of it; ``now`` is monotonic."""
        response = outcome.response
        self.picture = Picture(frame.camera_id, frame.frame_id, frame.captured_at, response is not None, frame.jpeg)
        if response is None:
            return
        self._number += 1
        seen = _seen(self._number, frame, response)
        self._seen.append(seen)
        self._latencies.append(seen.latency)
        self._accepted_at.append(now)

    def after(self, number: int) -> tuple[AnsweredFrame, ...]:
        """Give the frames kept that came after a number, in order."""
        return tuple(seen for seen in self._seen if seen.number > number)

    @property
    def latencies(self) -> tuple[FrameLatency, ...]:
        """The times of the last frames, in order."""
        return tuple(self._latencies)

    def fps(self, now: float) -> float:
        """Give the frames accepted per second, lately."""
        return per_second(tuple(self._accepted_at), now)


def _seen(number: int, frame: EncodedFrame, response: pb.DetectResponse) -> AnsweredFrame:
    return AnsweredFrame(
        number=number,
        camera_id=frame.camera_id,
        frame_id=frame.frame_id,
        event_id=response.event_id,
        captured_at=frame.captured_at,
        width=frame.source_width,
        height=frame.source_height,
        model=response.model,
        objects=tuple(
            DetectedObject(
                label=seen.label,
                class_id=seen.class_id,
                confidence=seen.confidence,
                bbox=(seen.bbox.x, seen.bbox.y, seen.bbox.width, seen.bbox.height),
            )
            for seen in response.detections
        ),
        latency=_latency(frame, response.latency),
    )


def _latency(frame: EncodedFrame, spent: pb.StageLatency) -> FrameLatency:
    stages = (frame.encode_ms, spent.transport_ms, spent.queue_ms, spent.decode_ms, spent.inference_ms)
    total = max(spent.total_ms, sum(stages))  # two clocks: the total may come out below its parts
    return FrameLatency(*stages, commit=total - sum(stages), total=total)
