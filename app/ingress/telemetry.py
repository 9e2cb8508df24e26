"""ServiceTelemetry: the metrics of the ingress."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a camera on the edge has no Kafka client
    from app.core.event import DetectionEvent
from app.core.stage import EVENT_STAGES
from app.telemetry.metrics import BATCH_SIZE, DETECTIONS, FRAMES_TRUNCATED, FRAMES_WAITING, STAGE_SECONDS, Meter


class ServiceTelemetry:
    """Sets the metrics of the ingress."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def batch(self, size: int) -> None:
        """Count the frames of one call to a detector."""
        self._meter.observe(BATCH_SIZE, size)

    def waiting(self, frames: int) -> None:
        """Set how many frames wait for a detector."""
        self._meter.set(FRAMES_WAITING, frames)

    def answered(self, event: DetectionEvent) -> None:
        """Count an accepted frame's objects, and where its time went."""
        for detected in event.objects:
            self._meter.add(DETECTIONS, detected.label)
        if event.truncated:
            self._meter.add(FRAMES_TRUNCATED, event.camera_id)
        for stage in EVENT_STAGES:
            self._meter.observe(STAGE_SECONDS, getattr(event.latency, stage) / 1000, stage)
