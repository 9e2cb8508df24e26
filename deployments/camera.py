"""CameraActor, one per source, and CameraManager, which owns them all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import ray
from fastapi import FastAPI
from pydantic import SecretStr
from ray import serve
from ray.exceptions import ActorDiedError, RayError, RayTaskError
from ray.serve.schema import TracingConfig

from app.camera_settings import CameraSettings
from app.cameras import Backoff, Camera, CameraStatus, DetectClient, FrameLatency, Picture
from app.log_lines import TroubleLog
from app.reporting import Observation, Reporter
from app.settings import ServiceAddress, TlsSettings
from app.telemetry import CameraTelemetry, RayMeter
from app.web import BrokerFacts, CameraFacts, CameraNews, Cursor, Health, Readings, SystemFacts, build_api
from deployments.logs import log_as_serve, log_beside_serve, say
from deployments.observing import ANSWER_TIMEOUT_S, INFERENCE, deployments, ingress_load, publisher_snapshot
from deployments.tracing import camera_tracing

logger = logging.getLogger("ray.serve")

REPORT_PERIOD_S = 10.0
"""How often the one line about the whole system is written."""
RESTART_FIRST_S, RESTART_MOST_S = 0.2, 10.0
"""Pause before a camera whose actor died gets a new one; it grows while they die young."""
GROWN_UP_S = 30.0
"""An actor that lived so long did not die of what its predecessors died of."""
STOP_TIMEOUT_S = 7.0
"""What a camera may take to settle its last frames."""
STARTUP_PATIENCE_S = 120.0
"""How long cameras wait for the inference application before they start all the same."""


@dataclass(frozen=True)
class CameraServiceOptions:
    """What every camera needs to know of the service."""

    service: ServiceAddress
    tls: TlsSettings
    token: SecretStr | None
    budget_ms: int
    tracing: TracingConfig | None = None
    """None: tracing is off."""


@dataclass(frozen=True)
class CameraLook:
    """What a camera's actor tells who looks at it."""

    status: CameraStatus
    latencies: tuple[FrameLatency, ...]


class CameraActor:
    """One camera in a process of its own; it ends with the manager that made it."""

    def __init__(self, settings: CameraSettings, options: CameraServiceOptions, epoch: int) -> None:
        log_beside_serve("camera", settings.id)
        tracing = camera_tracing(settings.id, options.tracing)
        self._client = DetectClient(options.service, tls=options.tls, token=options.token, tracing=tracing)
        self._camera = Camera(
            settings,
            client=self._client,
            epoch=epoch,
            budget_ms=options.budget_ms,
            observer=CameraTelemetry(settings.id, RayMeter()),
        )

    async def run(self) -> None:
        """Watch the source until :meth:`stop`."""
        try:
            await self._camera.run()
        finally:
            await self._client.close()

    async def stop(self) -> CameraStatus:
        """Stop and settle every frame; give the last word of the ledger."""
        await self._camera.stop()
        return self._camera.status()

    async def status(self) -> CameraStatus:
        """Tell how the camera is."""
        return self._camera.status()

    async def look(self) -> CameraLook:
        """Tell how the camera is, and where its last frames' time went."""
        return CameraLook(self._camera.status(), self._camera.recent.latencies)

    async def seen(self, after: Cursor) -> CameraNews:
        """Tell what was seen since a cursor; one of another life of this actor counts for nothing."""
        status = self._camera.status()
        number = after.number if after.epoch == status.epoch else 0
        return CameraNews(status.id, status.epoch, self._camera.recent.after(number))

    async def picture(self) -> Picture | None:
        """Give the newest frame that was answered."""
        return self._camera.recent.picture


class _Watch:
    """Keeps one camera's actor alive: a dead one is made again with the same id, in a new epoch."""

    def __init__(self, settings: CameraSettings, options: CameraServiceOptions) -> None:
        self._settings = settings
        self._options = options
        self._epoch = 0
        self._actor: Any = None
        self._pause = Backoff(RESTART_FIRST_S, RESTART_MOST_S)
        self._deaths = TroubleLog(logger, f"camera {settings.id}: its actor died", camera_id=settings.id)
        self._task = asyncio.get_running_loop().create_task(self._keep())
        self.restarts = 0
        self._silence = "its process is being started"
        self._silent_since = datetime.now(timezone.utc)

    async def status(self) -> CameraStatus | None:
        """Ask the actor; none while it is being made, or does not answer."""
        status: CameraStatus | None = await self._ask("status")
        return status

    async def facts(self) -> CameraFacts:
        """Ask the actor, and add what its owner knows."""
        look: CameraLook | None = await self._ask("look")
        return CameraFacts(
            id=self._settings.id,
            url=str(self._settings.url),
            fps_asked=self._settings.fps or 0.0,
            status=look.status if look else None,
            silence=self._silence,
            silent_since=self._silent_since,
            latencies=look.latencies if look else (),
            restarts=self.restarts,
        )

    async def seen(self, after: Cursor) -> CameraNews | None:
        """Ask the actor what it saw; none while it does not answer."""
        news: CameraNews | None = await self._ask("seen", after)
        return news

    async def picture(self) -> Picture | None:
        """Ask the actor for its newest frame; none while it does not answer."""
        picture: Picture | None = await self._ask("picture")
        return picture

    async def _ask(self, method: str, *arguments: object) -> Any:
        if self._actor is None:
            return None
        try:
            return await asyncio.wait_for(getattr(self._actor, method).remote(*arguments), ANSWER_TIMEOUT_S)
        except (RayError, asyncio.TimeoutError):
            return None

    async def stop(self) -> None:
        """End the actor, its last frames settled if it still can."""
        self._task.cancel()
        if self._actor is None:
            return
        try:
            await asyncio.wait_for(self._actor.stop.remote(), STOP_TIMEOUT_S)
        except (RayError, asyncio.TimeoutError):
            about = {"camera_id": self._settings.id}
            logger.warning("camera %s did not settle its last frames", self._settings.id, extra=about)
        ray.kill(self._actor)

    async def _keep(self) -> None:
        while True:
            born = time.monotonic()
            try:
                self._actor = self._make()
                await self._actor.run.remote()
                return  # a recording that does not loop has come to its end
            except (RayError, ValueError) as error:
                self.restarts += 1
                self._silence, self._silent_since = "its process died; it is made again", datetime.now(timezone.utc)
                lines = str(error).strip().splitlines() or [type(error).__name__]
                # The last line of an error that crossed processes is the error itself; the first says that it did.
                reason = lines[-1] if isinstance(error, RayTaskError | ActorDiedError) else lines[0]
                self._deaths.again(reason)
            if time.monotonic() - born >= GROWN_UP_S:
                self._pause.reset()
            await asyncio.sleep(self._pause.next())

    def _make(self) -> Any:
        # Milliseconds rise across restarts of everything; the maximum guards against a clock set back.
        self._epoch = max(self._epoch + 1, time.time_ns() // 1_000_000)
        return (
            ray.remote(CameraActor)
            .options(
                num_cpus=0,
                resources=dict(self._settings.resources),
                max_concurrency=16,
            )
            .remote(self._settings, self._options, self._epoch)
        )


class CameraManagerBase:
    """Owns the camera actors, reports, and tells whether the system is ready."""

    def __init__(self, cameras: Sequence[CameraSettings], options: CameraServiceOptions, broker: BrokerFacts) -> None:
        log_as_serve()
        self._cameras = tuple(cameras)
        self._options = options
        self._broker = broker
        self._born = datetime.now(timezone.utc)
        self.readings = Readings(self)
        self._watches: dict[str, _Watch] = {}
        self._reporter = Reporter(options.budget_ms)
        self._tasks = [asyncio.get_running_loop().create_task(work) for work in (self._start_cameras(), self._report())]

    @property
    def token(self) -> str | None:
        """The bearer token of the HTTP API."""
        return self._options.token.get_secret_value() if self._options.token else None

    async def health(self) -> Health:
        """Tell whether every camera is live and not blocked, or its recording over, and the publisher answers."""
        observation = await self._observe()
        reasons = [
            f"camera {status.id} is {status.state}: {status.reason}"
            for status in observation.cameras
            if status.state not in ("live", "ended")
        ]
        reasons += [
            f"camera {status.id} is blocked: {status.blocked}"
            for status in observation.cameras
            if status.blocked is not None and status.state == "live"
        ]
        missing = len(self._cameras) - len(observation.cameras)
        reasons += [f"{missing} cameras are being started"] if missing else []
        reasons += [] if observation.publisher is not None else ["the inference application is not there"]
        return Health(ready=not reasons, reasons=tuple(reasons))

    async def statuses(self) -> list[CameraStatus]:
        """Tell how each camera is that answers."""
        asked = await asyncio.gather(*(watch.status() for watch in self._watches.values()))
        return [status for status in asked if status is not None]

    @property
    def camera_ids(self) -> Sequence[str]:
        """Every camera there should be."""
        return [camera.id for camera in self._cameras]

    async def news(self, after: Mapping[str, Cursor]) -> Sequence[CameraNews]:
        """Tell what each camera that answers saw since its cursor."""
        watches = [(watch, after[name]) for name, watch in self._watches.items() if name in after]
        told = await asyncio.gather(*(watch.seen(cursor) for watch, cursor in watches))
        return [news for news in told if news is not None]

    async def picture(self, camera_id: str) -> Picture | None:
        """Give the newest frame of a camera; none while it does not answer."""
        watch = self._watches.get(camera_id)
        return None if watch is None else await watch.picture()

    async def facts(self, viewers: int) -> SystemFacts:
        """Gather the facts that the HTTP API tells."""
        cameras, publisher, load, running = await asyncio.gather(
            self._camera_facts(), publisher_snapshot(), ingress_load(), deployments()
        )
        return SystemFacts(
            at=datetime.now(timezone.utc),
            budget_ms=self._options.budget_ms,
            cameras=cameras,
            publisher=publisher,
            deployments=running,
            load=load,
            broker=self._broker,
            viewers=viewers,
        )

    async def _camera_facts(self) -> tuple[CameraFacts, ...]:
        return tuple(await asyncio.gather(*(self._facts_of(camera) for camera in self._cameras)))

    async def _facts_of(self, camera: CameraSettings) -> CameraFacts:
        if (watch := self._watches.get(camera.id)) is not None:
            return await watch.facts()
        waiting = "waiting for the inference application"
        return CameraFacts(camera.id, str(camera.url), camera.fps or 0.0, None, waiting, self._born, (), 0)

    async def _start_cameras(self) -> None:
        await self._service_up()
        for camera in self._cameras:
            logger.info("camera %s: %s at %g fps", camera.id, camera.url, camera.fps, extra={"camera_id": camera.id})
            self._watches[camera.id] = _Watch(camera, self._options)

    async def _service_up(self) -> None:
        """Wait while the service of this cluster is being deployed: frames sent before would only be dropped."""
        end = time.monotonic() + STARTUP_PATIENCE_S
        unread = TroubleLog(logger, "the state of the inference application cannot be read", unit="tries")
        while time.monotonic() < end:
            try:
                application = (await asyncio.to_thread(serve.status)).applications.get(INFERENCE)
                if application is None or application.status not in ("DEPLOYING", "NOT_STARTED"):
                    return
            except Exception as error:  # noqa: BLE001 - the controller may be away for a while
                unread.again(type(error).__name__)
            await asyncio.sleep(0.25)

    async def _report(self) -> None:
        untold = TroubleLog(logger, "the line about the system cannot be written", level=logging.ERROR)
        while True:
            await asyncio.sleep(REPORT_PERIOD_S)
            if self._watches:
                try:
                    say(f"sightline: {self._reporter.line(await self._observe())}")
                except Exception as error:  # noqa: BLE001 - the next one may succeed
                    untold.again(type(error).__name__, error=error)

    async def _observe(self) -> Observation:
        cameras, publisher = await asyncio.gather(self.statuses(), publisher_snapshot())
        return Observation(time.monotonic(), cameras, publisher, len(self._cameras))

    async def close(self) -> None:
        """End every camera."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(watch.stop() for watch in self._watches.values()))


def _here() -> CameraManagerBase:
    manager: object = serve.get_replica_context().servable_object
    assert isinstance(manager, CameraManagerBase)
    return manager


def _api() -> FastAPI:
    # Built in the replica: an application that was pickled has lost what its parameters allow.
    return build_api(_here)


@serve.deployment(name="CameraManager")
@serve.ingress(_api)
class CameraManager(CameraManagerBase):
    """The camera manager behind the HTTP API."""

    async def __del__(self) -> None:
        await self.close()
