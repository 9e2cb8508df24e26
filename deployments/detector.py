"""ObjectDetector: the model in a Serve replica, one batch a call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from ray import serve

from app.detection import DetectorOptions, ImageOutcome, NoOpOptions, make_detector
from app.errors import DeadlineExceeded, InferenceFailed
from app.log_lines import TroubleLog
from app.rpc.conversion import Clock
from app.service import DetectorAnswer, DetectorJob, ModelInfo, expired
from deployments.logs import log_as_serve

logger = logging.getLogger("ray.serve")


@serve.deployment(name="ObjectDetector")
class ObjectDetector:
    """Holds one model; it is loaded and has answered once before the replica counts as ready."""

    def __init__(self, options: DetectorOptions | NoOpOptions) -> None:
        """Load and warm the model.

        Raises:
            ModelUnavailable: it cannot be loaded; Serve shows the line in the deployment's status.
            SettingsError: an option does not suit the model.
        """
        log_as_serve()
        started = time.monotonic()
        self._detector = make_detector(options)
        self._detector.warm_up()
        self._model = ModelInfo(
            name=self._detector.model_name,
            labels=dict(self._detector.labels),
            device=str(self._detector.device),
        )
        self._clock = Clock()
        # One batch at a time owns the device; the next one's frames wait here, a hop nearer.
        self._turn = asyncio.Lock()
        self._failures = TroubleLog(logger, "the model fails", unit="images", level=logging.ERROR)
        name, form = self._model.name, self._detector.form
        shown = name if form == name else f"{name} (run as its export {form})"
        logger.info("model %s ready on %s in %.1f s", shown, self._model.device, time.monotonic() - started)

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        """Detect in each image whose budget lasts; an image's fault is its own outcome."""
        received = self._clock.monotonic()
        async with self._turn:
            late = [expired(job, received, self._clock) for job in jobs]
            images = [job.image for job, error in zip(jobs, late, strict=True) if error is None]
            began = self._clock.monotonic()
            ran = iter(await asyncio.to_thread(self._detector.run, images) if images else ())
            busy_s = self._clock.monotonic() - began
        outcomes = tuple(next(ran) if error is None else _refused(error) for error in late)
        self._tell_failures(outcomes)
        return DetectorAnswer(outcomes, self._model, busy_s)

    def _tell_failures(self, outcomes: Sequence[ImageOutcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome.error, InferenceFailed):
                self._failures.again(str(outcome.error))
            elif outcome.error is None:
                self._failures.over("the model answers again")

    async def describe(self) -> ModelInfo:
        """Tell which model answers here."""
        return self._model


def _refused(error: DeadlineExceeded) -> ImageOutcome:
    return ImageOutcome(detections=None, error=error, width=0, height=0, decode_ms=0.0, inference_ms=0.0)
