"""Detected: what a detector found in one frame, and the event that it becomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.core.event import DetectedObject, DetectionEvent, StageLatencies, WeakDetection
from app.detection import ImageOutcome
from app.detection.detections import Detections
from app.detection.messages import ModelInfo
from app.rpc.request import DetectionRequest


@dataclass(frozen=True)
class Detected:
    """What came of one image."""

    outcome: ImageOutcome
    model: ModelInfo

    def event(self, request: DetectionRequest, elapsed_ms: float) -> DetectionEvent:
        """Return the event of a frame; ``elapsed_ms`` is the time since its arrival."""
        outcome = self.outcome
        transport_ms = (request.arrived_at_ns - request.captured_at_ns) / 1e6 - request.encode_ms
        return DetectionEvent(
            camera_id=request.camera_id,
            frame_id=request.frame_id,
            captured_at_ns=request.captured_at_ns,
            width=request.source_width,
            height=request.source_height,
            model=self.model.name,
            objects=self._objects(request),
            truncated=outcome.detections is not None and outcome.detections.truncated,
            latency=StageLatencies(
                encode=request.encode_ms,
                transport=max(0.0, transport_ms),  # two clocks: it may come out below zero
                # Waiting, and the transfer to the replica and back: all that was neither decoding nor inference.
                queue=max(0.0, elapsed_ms - outcome.decode_ms - outcome.inference_ms),
                decode=outcome.decode_ms,
                inference=outcome.inference_ms,
            ),
        )

    def weak(self, request: DetectionRequest) -> tuple[WeakDetection, ...]:
        """Return the boxes of which the model is not sure."""
        found = self.outcome.detections
        weak = None if found is None else found.weak
        return tuple(WeakDetection(*one) for one in _scaled(request, self.outcome, weak))

    def _objects(self, request: DetectionRequest) -> tuple[DetectedObject, ...]:
        labels = self.model.labels
        return tuple(
            DetectedObject(labels.get(class_id, f"class{class_id}"), class_id, confidence, bbox)
            for class_id, confidence, bbox in _scaled(request, self.outcome, self.outcome.detections)
        )


def _scaled(
    request: DetectionRequest, outcome: ImageOutcome, found: Detections | None
) -> Iterator[tuple[int, float, tuple[float, float, float, float]]]:
    """Yield class, score and box (x, y, width, height), scaled from the image sent to the frame captured."""
    if found is None or not len(found):
        return
    scale = np.array([request.source_width / outcome.width, request.source_height / outcome.height] * 2)
    limit = np.array([request.source_width, request.source_height] * 2)
    boxes = np.clip(found.boxes * scale, 0, limit)
    for (x1, y1, x2, y2), score, class_id in zip(
        boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
    ):
        # A head without NMS may swap the corners of a box.
        yield class_id, score, (x1, y1, max(0.0, x2 - x1), max(0.0, y2 - y1))
