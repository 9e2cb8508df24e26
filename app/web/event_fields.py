"""EventModel: one event, as the HTTP API returns it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from app.cameras import AnsweredFrame
from app.core.event import DetectedObject
from app.core.stage import ANSWER_STAGES
from app.web.figures import Model, milliseconds


class DetectionModel(Model):
    """One object, as on the topic."""

    label: Annotated[str, Field(alias="class")]
    class_id: int
    confidence: float
    bbox: Annotated[
        tuple[float, float, float, float],
        Field(description="x, y, width, height in pixels of the captured frame."),
    ]
    track_id: Annotated[
        int | None, Field(description="Which object of its camera it is; null: not tracked, or not known yet.")
    ] = None

    @classmethod
    def of(cls, detected: DetectedObject) -> DetectionModel:
        """Convert an object."""
        x, y, width, height = (round(side, 2) for side in detected.bbox)
        return cls(
            label=detected.label,
            class_id=detected.class_id,
            confidence=round(detected.confidence, 4),
            bbox=(x, y, width, height),
            track_id=detected.track_id,
        )


class SizeModel(Model):
    """Pixels."""

    width: int
    height: int


class StagesModel(Model):
    """Milliseconds; the stages add up to the total, which runs from capture until the event was durable."""

    encode: float
    transport: float
    queue: float
    decode: float
    inference: float
    commit: float
    total: float


class EventModel(Model):
    """One event; the names are those of the event on the topic."""

    event_id: str
    timestamp: Annotated[datetime, Field(description="UTC; the capture time.")]
    camera_id: str
    frame_id: str
    frame: SizeModel
    model: str
    detections: tuple[DetectionModel, ...]
    latency_ms: StagesModel

    @classmethod
    def of(cls, frame: AnsweredFrame) -> EventModel:
        """Convert a frame."""
        return cls(
            event_id=frame.event_id,
            timestamp=frame.captured_at,
            camera_id=frame.camera_id,
            frame_id=frame.frame_id,
            frame=SizeModel(width=frame.width, height=frame.height),
            model=frame.model,
            detections=tuple(DetectionModel.of(one) for one in frame.objects),
            latency_ms=StagesModel(
                **{name: milliseconds(getattr(frame.latency, name)) for name in (*ANSWER_STAGES, "total")}
            ),
        )
