"""The detection service in this process, with stand-ins for detector and publisher."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import cv2
import numpy as np

from app.core.event import DetectionEvent
from app.detection import ImageOutcome
from app.detection.detections import Detections
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo
from app.errors import SightlineError
from app.ingress.service import DetectionService, ServiceLimits
from app.publisher import Receipt, Submission
from app.rpc.sightline.inference.v1 import inference_pb2 as pb

IMAGE = cv2.imencode(".jpg", np.full((180, 320, 3), 90, np.uint8))[1].tobytes()


class Detector:
    """Finds one car in every picture, unless set otherwise."""

    def __init__(self) -> None:
        self.batches: list[list[DetectorJob]] = []
        self.box = [10, 20, 110, 120]
        self.truncated = False
        self.weak: Detections | None = None
        self.error: SightlineError | None = None
        self.fault: SightlineError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        self.batches.append(list(jobs))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        boxes = np.array([self.box], np.float32)
        car = Detections(boxes, np.array([0.9], np.float32), np.array([2], np.int64), self.truncated, self.weak)
        detected = ImageOutcome(None if self.fault else car, self.fault, 320, 180, 1.0, 2.0)
        return DetectorAnswer((detected,) * len(jobs), ModelInfo("m.pt", {2: "car"}, "cpu"))


class Publisher:
    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.answer: SightlineError | None = None
        self.track_ids: tuple[int | None, ...] = ()
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, submissions: Sequence[Submission]) -> Sequence[Receipt | SightlineError]:
        await self.gate.wait()
        self.submissions += submissions
        return [self.answer or Receipt(one.event.event_id, track_ids=self.track_ids) for one in submissions]


class Observer:
    """Keeps how many frames waited, each time it was called."""

    def __init__(self) -> None:
        self.waits: list[int] = []

    def batch(self, size: int) -> None:
        """Do nothing."""

    def waiting(self, frames: int) -> None:
        self.waits.append(frames)

    def answered(self, event: DetectionEvent) -> None:
        """Do nothing."""


class ServiceFixture:
    """A service with all it needs, within reach."""

    def __init__(
        self, slots: int = 1, token: str | None = None, detector: Detector | None = None, **limits: int
    ) -> None:
        self.detector, self.publisher, self.observer = detector or Detector(), Publisher(), Observer()
        self.service = DetectionService(
            self.detector, [self.publisher], limits=ServiceLimits(**limits), observer=self.observer, token=token
        )
        self.service.resize(slots)

    async def detect(self, metadata: dict[str, str] | None = None, **fields: object):
        request = pb.DetectRequest(**{"camera_id": "cam", "image": IMAGE, **fields})
        return await self.service.detect(request, metadata or {})
