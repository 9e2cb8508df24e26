"""ObjectDetector: the model in a Serve replica, one batch a call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ray import serve

from app.core.clock import Clock
from app.core.service_time import BatchTimes
from app.core.wanted import AS_CONFIGURED
from app.detection import (
    DetectorFactory,
    DetectorOptions,
    ImageOutcome,
    ReplicaDetector,
    Thresholds,
    make_detector,
)
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo, expired
from app.errors import InferenceFailed, SettingsError, SightlineError
from app.settings.evidence import PrivacySettings
from app.settings.live import LiveDetector, parse_live
from app.telemetry.trouble_log import TroubleLog
from deployments.actor_logs import log_as_serve

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, eq=False)
class _LoadedModel:
    """A model that is ready, what it was made with, and how long its batches take."""

    options: DetectorOptions
    detector: ReplicaDetector
    info: ModelInfo
    times: BatchTimes


@serve.deployment(name="ObjectDetector")
class ObjectDetector:
    """Holds one model; it is loaded and has answered once before the replica counts as ready."""

    def __init__(
        self,
        options: DetectorOptions,
        fixed: Collection[str] = (),
        *,
        make: DetectorFactory = make_detector,
        privacy: PrivacySettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; the model is loaded by the first :meth:`reconfigure`, which may name another one.

        Args:
            options: which model, and how it is run, by the settings.
            fixed: the settings of the detector that the environment has set; ``user_config`` does not change them.
            make: makes the detector that options ask for, in a thread; it raises as ``make_detector`` does.
            privacy: what pictures must not show, so that it must be looked for; ``None``: nothing.
            clock: measures budgets and batches.
        """
        log_as_serve()
        self._options = options
        self._fixed = fixed
        self._make = make
        self._privacy = privacy or PrivacySettings()
        self._model: _LoadedModel | None = None
        self._revision = 0
        """Counts the calls of :meth:`reconfigure`: a model that is loaded for an older one is not taken over."""
        self._exchange: asyncio.Task[None] | None = None
        self._clock = clock or Clock()
        # The next batch's frames wait here, in the replica, until the detector has begun with all of this one's.
        self._admission = asyncio.Lock()
        self._running: set[asyncio.Task[list[ImageOutcome]]] = set()
        self._ended = 0.0
        self._failures = TroubleLog(logger, "the model fails", unit="images", level=logging.ERROR)

    async def reconfigure(self, user_config: object, rank: object = None) -> None:
        """Take over what may change while frames flow; Serve calls it before the replica is ready, and on each change.

        Other thresholds hold from the next batch on. Another model is loaded and warmed up beside the one that serves,
        and takes over between two batches. Serve sends no request to a replica while this method runs, and stops a
        replica in which it raises. So in a replica that serves it returns at once, and what is wrong is logged in one
        line.

        Args:
            user_config: see :class:`LiveDetector`; ``None``: there is no ``user_config`` (any more).
            rank: not used; but only where a replica takes it does Serve call this without a ``user_config``.

        Raises:
            SettingsError: an option is wrong or does not suit the model, and the replica is just starting.
            ModelUnavailable: the model cannot be loaded, and the replica is just starting.
        """
        self._revision += 1
        try:
            desired = self._desired(user_config)
            if self._model is None:
                self._model = await asyncio.to_thread(_load, desired, self._make)
            elif not self._retuned(self._model, desired):
                self._exchange = asyncio.create_task(self._exchange_for(desired, self._revision))
        except SightlineError as error:
            if self._model is None:
                raise
            logger.error("user_config is refused and nothing changes: %s", error)

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        """Detect in each image whose budget lasts; an image's fault is its own outcome."""
        received = self._clock.monotonic()
        async with self._admission:
            model = self._ready()
            late = [expired(job, received, self._clock) for job in jobs]
            taken = [job for job, error in zip(jobs, late, strict=True) if error is None]
            began = self._clock.monotonic()
            running = await self._begin(model.detector, taken) if taken else None
        # Shielded: a thread cannot be cancelled, and its model is not to be closed under it.
        ran = iter(await asyncio.shield(running) if running else ())
        busy_s = 0.0
        if taken:
            ended = self._clock.monotonic()
            # Batches overlap: while the one before was still running, the detector was not busy with this one alone.
            busy_s = ended - max(began, self._ended)
            self._ended = ended
            model.times.record(len(taken), busy_s)
        outcomes = tuple(next(ran) if error is None else ImageOutcome.refused(error) for error in late)
        self._log_failures(outcomes)
        return DetectorAnswer(outcomes, model.info, busy_s)

    async def _begin(self, detector: ReplicaDetector, jobs: Sequence[DetectorJob]) -> asyncio.Task[list[ImageOutcome]]:
        """Start a run, and return as soon as the next one may start."""
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()
        images, wanted = [job.image for job in jobs], [job.wanted for job in jobs]
        task = loop.create_task(asyncio.to_thread(detector.run, images, lambda: _set_from_thread(loop, begun), wanted))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: begun.set())
        await begun.wait()
        return task

    def _log_failures(self, outcomes: Sequence[ImageOutcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome.error, InferenceFailed):
                self._failures.report(str(outcome.error))
            elif outcome.error is None:
                self._failures.resolve("the model answers again")

    async def describe(self) -> ModelInfo:
        """Return which model answers here."""
        return self._ready().info

    async def check_health(self) -> None:
        """Check the device; Serve calls this every ten seconds, and replaces a replica that failed three times.

        Raises:
            ModelUnavailable: the model's device is lost to this process.
        """
        if self._model is not None:
            await asyncio.to_thread(self._model.detector.check)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what batches cost here; Serve carries it to its controller, where ``deployments.scaling`` reads it."""
        reading = self._model.times.reading() if self._model else None
        return reading.as_stats() if reading else {}

    def _desired(self, user_config: object) -> DetectorOptions:
        live = parse_live(LiveDetector, user_config)
        desired = self._options.changed_by(live, self._fixed)
        if unseen := self._privacy.unseen(AS_CONFIGURED, desired.classes):
            raise SettingsError(f"user_config.classes: {unseen[0]!r} is left out, which privacy.anonymise is to hide")
        if ignored := live.without_effect(self._fixed):
            logger.warning("user_config: %s has no effect, as the environment sets it", ", ".join(ignored))
        return desired

    def _retuned(self, model: _LoadedModel, desired: DetectorOptions) -> bool:
        """Take other thresholds over and return true, where it is the same model."""
        if (desired.model, desired.model_sha256) != (model.options.model, model.options.model_sha256):
            return False
        model.detector.retune(Thresholds(desired.confidence, desired.iou, desired.classes))
        self._model = replace(model, options=desired)
        return True

    async def _exchange_for(self, desired: DetectorOptions, revision: int) -> None:
        try:
            new = await asyncio.to_thread(_load, desired, self._make)
        except SightlineError as error:
            logger.error("the model stays %s: %s", self._ready().info.name, error)
            return
        async with self._admission:
            if revision != self._revision:  # meanwhile something else was asked for
                new.detector.close()
                return
            old, self._model = self._ready(), new
            if self._running:
                await asyncio.wait(self._running)
        old.detector.close()
        logger.info("model %s took over from %s", new.info.name, old.info.name)

    def _ready(self) -> _LoadedModel:
        assert self._model is not None, "Serve calls reconfigure before anything else"
        return self._model


def _set_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


def _load(options: DetectorOptions, make: DetectorFactory) -> _LoadedModel:
    started = time.monotonic()
    detector = make(options)
    detector.warm_up()
    info = ModelInfo(name=detector.model_name, labels=dict(detector.labels), device=str(detector.device))
    shown = info.name if detector.form == info.name else f"{info.name} (run as its export {detector.form})"
    logger.info("model %s ready on %s in %.1f s", shown, info.device, time.monotonic() - started)
    return _LoadedModel(options, detector, info, BatchTimes())
