"""ObjectDetector: the model in a Serve replica, one batch a call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ray import serve

from app.core.clock import Clock
from app.detection import DetectorOptions, ImageOutcome, NoOpDetector, NoOpOptions, Thresholds, make_detector
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo, expired
from app.errors import DeadlineExceeded, InferenceFailed, SightlineError
from app.scaling import BatchTimes
from app.settings.live import LiveDetector, parse_live
from app.telemetry.trouble_log import TroubleLog
from deployments.logs import log_as_serve

if TYPE_CHECKING:
    from app.detection import Detector  # at run time it would load torch

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, eq=False)
class _Held:
    """A model that is ready, what it was made with, and how long its batches take."""

    options: DetectorOptions | NoOpOptions
    detector: Detector | NoOpDetector
    model: ModelInfo
    times: BatchTimes


@serve.deployment(name="ObjectDetector")
class ObjectDetector:
    """Holds one model; it is loaded and has answered once before the replica counts as ready."""

    def __init__(
        self,
        options: DetectorOptions | NoOpOptions,
        fixed: Collection[str] = (),
        *,
        make: Callable[[DetectorOptions | NoOpOptions], Detector | NoOpDetector] = make_detector,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; the model is loaded by the first :meth:`reconfigure`, which may name another one.

        Args:
            options: which model, and how it is run, by the settings.
            fixed: those of its settings that the environment has set; ``user_config`` leaves them.
            make: makes the detector that options ask for, in a thread; it raises as ``make_detector`` does.
            clock: what budgets and batches are measured by.
        """
        log_as_serve()
        self._options = options
        self._fixed = fixed
        self._make = make
        self._held: _Held | None = None
        self._wishes = 0
        self._exchange: asyncio.Task[None] | None = None
        self._clock = clock or Clock()
        # The next batch's frames wait here, a hop nearer, until the detector has begun with all of this one's.
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[list[ImageOutcome]]] = set()
        self._ended = 0.0
        self._failures = TroubleLog(logger, "the model fails", unit="images", level=logging.ERROR)

    async def reconfigure(self, user_config: object, rank: object = None) -> None:
        """Take over what may change while frames flow; Serve calls it before the replica is ready, and on each change.

        Other thresholds hold from the next batch on. Another model is loaded and warmed beside the one that serves, and
        takes over between two batches. Serve asks no replica for work while this method runs, and stops one in which it
        fails. So it never takes long in a replica that serves, and what is wrong there is refused in one line.

        Args:
            user_config: see :class:`LiveDetector`; none: there is no ``user_config`` (any more).
            rank: of no use; but only where it is asked for does Serve tell that there is no ``user_config``.

        Raises:
            SettingsError: an option is wrong or does not suit the model, and the replica is just starting.
            ModelUnavailable: the model cannot be loaded, and the replica is just starting.
        """
        self._wishes += 1
        try:
            wanted = self._wanted(user_config)
            if self._held is None:
                self._held = await asyncio.to_thread(_load, wanted, self._make)
            elif not self._retuned(self._held, wanted):
                self._exchange = asyncio.create_task(self._exchange_for(wanted, self._wishes))
        except SightlineError as error:
            if self._held is None:
                raise
            logger.error("everything stays as it is: %s", error)

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        """Detect in each image whose budget lasts; an image's fault is its own outcome."""
        received = self._clock.monotonic()
        async with self._turn:
            held = self._ready()
            late = [expired(job, received, self._clock) for job in jobs]
            images = [job.image for job, error in zip(jobs, late, strict=True) if error is None]
            began = self._clock.monotonic()
            running = await self._begin(held.detector, images) if images else None
        # Shielded: a thread cannot be cancelled, and its model is not to be closed under it.
        ran = iter(await asyncio.shield(running) if running else ())
        busy_s = 0.0
        if images:
            ended = self._clock.monotonic()
            # Batches overlap: while the one before was still running, the detector was not busy with this one alone.
            busy_s = ended - max(began, self._ended)
            self._ended = ended
            held.times.record(len(images), busy_s)
        outcomes = tuple(next(ran) if error is None else _refused(error) for error in late)
        self._tell_failures(outcomes)
        return DetectorAnswer(outcomes, held.model, busy_s)

    async def _begin(
        self, detector: Detector | NoOpDetector, images: Sequence[bytes]
    ) -> asyncio.Task[list[ImageOutcome]]:
        """Start a run, and come back as soon as the next one may start."""
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(begun.set)

        task = loop.create_task(asyncio.to_thread(detector.run, images, tell))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: begun.set())
        await begun.wait()
        return task

    def _tell_failures(self, outcomes: Sequence[ImageOutcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome.error, InferenceFailed):
                self._failures.again(str(outcome.error))
            elif outcome.error is None:
                self._failures.over("the model answers again")

    async def describe(self) -> ModelInfo:
        """Tell which model answers here."""
        return self._ready().model

    async def check_health(self) -> None:
        """Tell Serve, which asks every ten seconds and replaces a replica that has failed three times.

        Raises:
            ModelUnavailable: the model's device is lost to this process.
        """
        if self._held is not None:
            await asyncio.to_thread(self._held.detector.check)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Tell Serve's controller what batches cost here; ``deployments.scaling`` reads it there."""
        reading = self._held.times.reading() if self._held else None
        return reading.as_stats() if reading else {}

    def _wanted(self, user_config: object) -> DetectorOptions | NoOpOptions:
        live = parse_live(LiveDetector, user_config)
        if isinstance(self._options, NoOpOptions):
            return self._options
        wanted = self._options.changed_by(live, self._fixed)
        if idle := live.without_effect(self._fixed):
            logger.warning("user_config: %s has no effect, as the environment sets it", ", ".join(idle))
        return wanted

    def _retuned(self, held: _Held, wanted: DetectorOptions | NoOpOptions) -> bool:
        """Take other thresholds over, where it is the same model."""
        if isinstance(wanted, NoOpOptions) or isinstance(held.options, NoOpOptions):
            return wanted == held.options
        if (wanted.model, wanted.model_sha256) != (held.options.model, held.options.model_sha256):
            return False
        held.detector.retune(Thresholds(wanted.confidence, wanted.iou, wanted.classes))
        self._held = replace(held, options=wanted)
        return True

    async def _exchange_for(self, wanted: DetectorOptions | NoOpOptions, wish: int) -> None:
        try:
            new = await asyncio.to_thread(_load, wanted, self._make)
        except SightlineError as error:
            logger.error("the model stays %s: %s", self._ready().model.name, error)
            return
        async with self._turn:
            if wish != self._wishes:  # meanwhile something else was asked for
                new.detector.close()
                return
            old, self._held = self._ready(), new
            if self._running:
                await asyncio.wait(self._running)
        old.detector.close()
        logger.info("model %s took over from %s", new.model.name, old.model.name)

    def _ready(self) -> _Held:
        assert self._held is not None, "Serve calls reconfigure before anything else"
        return self._held


def _load(
    options: DetectorOptions | NoOpOptions,
    make: Callable[[DetectorOptions | NoOpOptions], Detector | NoOpDetector],
) -> _Held:
    started = time.monotonic()
    detector = make(options)
    detector.warm_up()
    model = ModelInfo(name=detector.model_name, labels=dict(detector.labels), device=str(detector.device))
    shown = model.name if detector.form == model.name else f"{model.name} (run as its export {detector.form})"
    logger.info("model %s ready on %s in %.1f s", shown, model.device, time.monotonic() - started)
    return _Held(options, detector, model, BatchTimes())


def _refused(error: DeadlineExceeded) -> ImageOutcome:
    return ImageOutcome(detections=None, error=error, width=0, height=0, decode_ms=0.0, inference_ms=0.0)
