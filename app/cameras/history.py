"""FrameHistory: the last frames of a camera and what was detected in them, for the web interface and commands."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from app.cameras.rate import per_second
from app.core.anonymiser import Anonymiser
from app.core.event import DetectedObject, StageLatencies
from app.errors import ImageError

if TYPE_CHECKING:  # those who read a history handle no picture and no message
    from app.cameras.frame import EncodedFrame
    from app.cameras.outcome import Outcome
    from app.rpc.sightline.inference.v1 import inference_pb2 as pb

KEPT_FRAMES = 64
"""Answered frames whose detections are kept."""
KEPT_LATENCIES = 256
"""Answered frames whose latencies are kept, for quantiles."""


@dataclass(frozen=True)
class FrameLatency(StageLatencies):
    """Where an accepted frame's time went, in milliseconds; the stages add up to the total."""

    commit: float
    """From the model's answer until the event was durable."""
    total: float
    """From capture until the event was durable."""


@dataclass(frozen=True)
class AnsweredFrame:
    """What was detected in one accepted frame."""

    number: int
    """Rises by one from frame to frame within an epoch."""
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
    """The newest frame that was answered, as it was sent but for what is anonymised."""

    camera_id: str
    frame_id: str
    captured_at: datetime
    """UTC."""
    accepted: bool
    """Whether it became an event."""
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True)
class Cursor:
    """Up to which frame a camera was read: a number within one epoch of its actor."""

    epoch: int = 0
    number: int = 0


@dataclass(frozen=True)
class NewFrames:
    """The frames of one camera since a cursor."""

    camera_id: str
    epoch: int
    frames: tuple[AnsweredFrame, ...]


class FrameHistory:
    """Keeps the last frames, in bounded memory; used on one event loop."""

    def __init__(self, anonymiser: Anonymiser | None = None, *, shows_pictures: bool = True) -> None:
        """Keep nothing yet.

        Args:
            anonymiser: hides what no picture may show; then only frames that were judged are shown.
            shows_pictures: whether pictures are shown at all.
        """
        self._anonymiser = anonymiser or Anonymiser()
        self._shows_pictures = shows_pictures
        self._answered: deque[AnsweredFrame] = deque(maxlen=KEPT_FRAMES)
        self._latencies: deque[FrameLatency] = deque(maxlen=KEPT_LATENCIES)
        self._accepted_at: deque[float] = deque(maxlen=64)
        self._number = 0
        self._newest: tuple[Picture, AnsweredFrame | None] | None = None
        """The newest frame that may be shown, with what was found in it: replaced together, as a thread reads them."""

    def record(self, frame: EncodedFrame, outcome: Outcome, now: float) -> None:
        """Record a frame that was sent and its outcome; ``now`` is in monotonic seconds."""
        response = outcome.response
        if response is None:
            self._show(frame, None)
            return
        self._number += 1
        answered = _answered_frame(self._number, frame, response)
        self._show(frame, answered)
        self._answered.append(answered)
        self._latencies.append(answered.latency)
        self._accepted_at.append(now)

    def picture(self) -> Picture | None:
        """Return the newest frame that may be shown, anonymised; ``None`` before the first. Thread-safe.

        Where something is to be hidden that takes a decoding and an encoding, 4 to 30 ms.
        """
        if self._newest is None:
            return None
        picture, judged = self._newest
        if judged is None or not self._anonymiser.concerns(judged.objects):
            return picture
        try:
            hidden = self._anonymiser.apply(picture.jpeg, judged.objects, judged.width, judged.height)
        except ImageError:
            return None
        return replace(picture, jpeg=hidden)

    def _show(self, frame: EncodedFrame, judged: AnsweredFrame | None) -> None:
        if not self._shows_pictures or (judged is None and self._anonymiser):
            return  # nobody knows what is in it
        picture = Picture(frame.camera_id, frame.frame_id, frame.captured_at, judged is not None, frame.jpeg)
        self._newest = (picture, judged)

    def after(self, number: int) -> tuple[AnsweredFrame, ...]:
        """Return the kept frames with a higher number, in order."""
        return tuple(frame for frame in self._answered if frame.number > number)

    @property
    def latencies(self) -> tuple[FrameLatency, ...]:
        """The latencies of the last accepted frames, in order."""
        return tuple(self._latencies)

    def fps(self, now: float) -> float:
        """Return the frames accepted per second over the last seconds; ``now`` is in monotonic seconds."""
        return per_second(tuple(self._accepted_at), now)


def _answered_frame(number: int, frame: EncodedFrame, response: pb.DetectResponse) -> AnsweredFrame:
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
                label=detection.label,
                class_id=detection.class_id,
                confidence=detection.confidence,
                bbox=(detection.bbox.x, detection.bbox.y, detection.bbox.width, detection.bbox.height),
                track_id=detection.track_id if detection.HasField("track_id") else None,
            )
            for detection in response.detections
        ),
        latency=_latency(frame, response.latency),
    )


def _latency(frame: EncodedFrame, spent: pb.StageLatency) -> FrameLatency:
    stages = (frame.encode_ms, spent.transport_ms, spent.queue_ms, spent.decode_ms, spent.inference_ms)
    total = max(spent.total_ms, sum(stages))  # two clocks: the total may come out below its parts
    return FrameLatency(*stages, commit=total - sum(stages), total=total)
