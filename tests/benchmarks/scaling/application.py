"""The inference application around a detector that only sleeps: replicas, not cores, are what runs short."""

# No postponed annotations here: Serve looks at the builder's argument type as it stands.
import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel
from ray import serve

from app.core.clock import Clock
from app.core.service_time import BatchTimes
from app.detection import ImageOutcome
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo, expired
from app.detection.no_op import NoOpDetector
from app.ingress.service import ServiceLimits
from app.settings.loading import load_settings
from deployments.graph import delivery_actors
from deployments.ingress import DetectionIngress

LOAD_S = 3.0
"""What a replica takes before it is ready, beside its process's start: as long as the bundled model."""


class Args(BaseModel):
    """What the benchmark says of the application."""

    spool: str
    slots_per_replica: int
    max_batch_size: int
    max_waiting: int
    fixed_s: float
    frame_s: float


@serve.deployment(name="ObjectDetector")
class SleepingDetector:
    """Answers as ``ObjectDetector`` does, one batch at a time, after a sleep in place of a model."""

    def __init__(self, fixed_s: float, frame_s: float) -> None:
        self._fixed_s, self._frame_s = fixed_s, frame_s
        self._detector, self._clock, self._turn = NoOpDetector(), Clock(), asyncio.Lock()
        self._times = BatchTimes()
        time.sleep(LOAD_S)

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        received = self._clock.monotonic()
        async with self._turn:
            late = [expired(job, received, self._clock) for job in jobs]
            images = [job.image for job, error in zip(jobs, late, strict=True) if error is None]
            began = self._clock.monotonic()
            ran = iter(await self._run(images) if images else ())
            busy_s = self._clock.monotonic() - began
        if images:
            self._times.record(len(images), busy_s)
        outcomes = tuple(next(ran) if error is None else ImageOutcome(None, error, 0, 0, 0.0, 0.0) for error in late)
        return DetectorAnswer(outcomes, ModelInfo("sleep", {}, "none"), busy_s)

    async def _run(self, images: list[bytes]) -> list[ImageOutcome]:
        slept_s = self._fixed_s + self._frame_s * len(images)
        await asyncio.sleep(slept_s)
        # Told as the model's time: what is neither decoding nor inference counts as waiting, and slows the cameras.
        return [replace(outcome, inference_ms=slept_s * 1000) for outcome in self._detector.run(images)]

    def record_autoscaling_stats(self) -> dict[str, float]:
        reading = self._times.reading()
        return reading.as_stats() if reading else {}


def build(args: Args) -> serve.Application:
    """Wire the real ingress and publisher to it; nothing goes to Kafka."""
    settings = load_settings({"KAFKA_ENABLED": "false", "SIGHTLINE_SPOOL_DIR": args.spool})
    detector: Any = SleepingDetector
    ingress: Any = DetectionIngress
    limits = ServiceLimits(max_batch_size=args.max_batch_size, max_waiting=args.max_waiting)
    return ingress.options(ray_actor_options={"num_cpus": 0}, deployment_actors=delivery_actors(settings)).bind(
        detector.options(ray_actor_options={"num_cpus": 0}).bind(args.fixed_s, args.frame_s),
        limits,
        args.slots_per_replica,
        None,
    )
