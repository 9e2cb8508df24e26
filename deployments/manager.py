"""CameraManager, which owns the camera actors and answers the HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve

from app.cameras import CameraStatus, Picture
from app.errors import SettingsError
from app.fleet import CamerasFileWatcher, DesiredCamera, Fleet, OverrideStore, Reconciler
from app.fleet.status_line import Observation, StatusLine
from app.settings.camera_lists import CamerasGiven, ConfiguredCameras
from app.settings.environment import process_environment
from app.settings.live import budget_by, given_by
from app.telemetry.trouble_log import TroubleLog
from app.web import BrokerFacts, CameraFacts, CameraNews, Cursor, Health, Readings, SystemFacts, build_api
from deployments.camera import CameraServiceOptions
from deployments.camera_supervisor import CameraSupervisor
from deployments.cluster import INFERENCE, deployments, healthy_proxies, ingress_load, publisher_snapshot
from deployments.logs import log_as_serve, say
from deployments.nodes import CameraPlaces

logger = logging.getLogger("ray.serve")

REPORT_PERIOD_S = 10.0
"""How often the one line about the whole system is written."""
PROXIES_PERIOD_S = 3.0
"""How often cameras are told of Serve's proxies."""
STARTUP_PATIENCE_S = 120.0
"""How long cameras wait for the inference application before they start all the same."""
PREDECESSOR_PATIENCE_S = 15.0
"""How long a manager that is being replaced may take to end its cameras; Serve gives it 10 s."""
CONFIG_PATIENCE_S = 2.0
"""Within this time of its start Serve gives a replica its ``user_config``, unless that is null."""


@dataclass(frozen=True)
class CameraPlan:
    """Which cameras there should be, as it is known where the application is built."""

    given: CamerasGiven
    """Where they are written."""
    configured: ConfiguredCameras
    """What was written there then."""
    fps: float
    """Frames per second of a camera that says none."""
    state_dir: Path
    """Where changes made at run time are kept."""
    by_environment: bool
    """Whether ``SIGHTLINE_CAMERAS`` named them, which no ``user_config`` overrules."""
    budget_by_environment: bool
    """The same of ``SIGHTLINE_LATENCY_BUDGET_MS``."""


class CameraManagerBase:
    """Owns the camera actors, reports, and tells whether the system is ready."""

    def __init__(self, plan: CameraPlan, options: CameraServiceOptions, broker: BrokerFacts) -> None:
        log_as_serve()
        self._plan = plan
        self._options = options
        self._usual_budget_ms = options.budget_ms
        self._broker = broker
        self._born = datetime.now(timezone.utc)
        self.readings = Readings(self)
        places = CameraPlaces()
        self._roster: Reconciler[CameraSupervisor] = Reconciler(
            lambda settings: CameraSupervisor(settings, self._options, places)
        )
        self.changes = Fleet(plan.configured, OverrideStore(plan.state_dir), self._roster, plan.fps)
        self._following = CamerasFileWatcher(plan.given, process_environment())
        self._follower: asyncio.Task[None] | None = None
        self._turning = asyncio.Lock()
        self._config_trouble = ""
        self._configured = asyncio.Event()
        self._reporter = StatusLine(options.budget_ms)
        self._tasks = [asyncio.get_running_loop().create_task(work) for work in self._work()]

    def _work(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._start(), self._report(), self._tell_proxies()

    async def reconfigure(self, user_config: Any) -> None:
        """Take the deployment's ``user_config``; ``serve deploy`` with another one reaches a running manager here.

        A mistake in it is logged and changes nothing: an exception would have Serve replace this replica.
        """
        self._config_trouble = ""
        try:
            given = given_by(user_config, self._plan.given, by_environment=self._plan.by_environment)
            fixed = self._plan.budget_by_environment
            budget_ms = budget_by(user_config, self._usual_budget_ms, by_environment=fixed)
        except SettingsError as error:
            self._config_trouble = str(error)
            logger.error("cameras: what is configured now is not taken, all stays as it is: %s", error)
        else:
            if given is self._plan.given and (user_config or {}).get("cameras") is not None:
                logger.warning("cameras: SIGHTLINE_CAMERAS is set, and wins over user_config.cameras")
            if fixed and (user_config or {}).get("latency_budget_ms") is not None:
                logger.warning("SIGHTLINE_LATENCY_BUDGET_MS is set, and wins over user_config.latency_budget_ms")
            await self._rebudget(budget_ms)
            await self._follow(given)
        self._configured.set()

    async def _rebudget(self, budget_ms: int) -> None:
        """Give every frame that is sent from now on this budget; no camera is started anew."""
        if budget_ms == self._options.budget_ms:
            return
        logger.info("the latency budget is %d ms instead of %d", budget_ms, self._options.budget_ms)
        self._options = replace(self._options, budget_ms=budget_ms)
        self._reporter.rebudget(budget_ms)
        watches = list(self._roster.running.values())
        await asyncio.gather(*(watch.rebudget(self._options) for watch in watches))

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
        missing = len(observation.wanted) - len(observation.cameras)
        reasons += [f"{missing} cameras are being started"] if missing else []
        reasons += [] if observation.publisher is not None else ["the inference application is not there"]
        return Health(ready=not reasons, reasons=tuple(reasons))

    async def statuses(self) -> list[CameraStatus]:
        """Tell how each camera is that answers."""
        asked = await asyncio.gather(*(watch.status() for watch in self._roster.running.values()))
        return [status for status in asked if status is not None]

    @property
    def camera_ids(self) -> Sequence[str]:
        """Every camera there should be."""
        return [camera.settings.id for camera in self.changes.wanted]

    async def news(self, after: Mapping[str, Cursor]) -> Sequence[CameraNews]:
        """Tell what each camera that answers saw since its cursor."""
        watches = [(watch, after[name]) for name, watch in self._roster.running.items() if name in after]
        told = await asyncio.gather(*(watch.seen(cursor) for watch, cursor in watches))
        return [news for news in told if news is not None]

    async def picture(self, camera_id: str) -> Picture | None:
        """Give the newest frame of a camera; none while it does not answer."""
        watch = self._roster.running.get(camera_id)
        return None if watch is None else await watch.picture()

    async def facts(self, viewers: int, seconds: float | None = None) -> SystemFacts:
        """Gather the facts that the HTTP API tells; with ``seconds`` Kafka's latencies are those since so long ago."""
        cameras, publisher, load, running = await asyncio.gather(
            self._camera_facts(), publisher_snapshot(seconds), ingress_load(), deployments()
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
            cameras_trouble=self._config_trouble or self._following.trouble,
        )

    async def _camera_facts(self) -> tuple[CameraFacts, ...]:
        return tuple(await asyncio.gather(*(self._facts_of(camera) for camera in self.changes.wanted)))

    async def _facts_of(self, camera: DesiredCamera) -> CameraFacts:
        settings = self.changes.resolved(camera)
        if (watch := self._roster.running.get(settings.id)) is not None:
            return await watch.facts(camera)
        return CameraFacts(
            id=settings.id,
            url=str(settings.url),
            fps_asked=settings.fps or 0.0,
            status=None,
            silence="waiting for the inference application",
            silent_since=self._born,
            latencies=(),
            restarts=0,
            asked=camera.settings,
            origin=camera.origin,
        )

    async def _start(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._configured.wait(), CONFIG_PATIENCE_S)
        if not self._configured.is_set():
            await self._follow(self._plan.given)
        await self.changes.open(PREDECESSOR_PATIENCE_S)
        await self._service_up()
        self._roster.begin()

    async def _follow(self, given: CamerasGiven) -> None:
        """Take the cameras that are written somewhere, now and whenever that changes."""
        async with self._turning:
            if self._follower is not None:
                self._follower.cancel()
            self._following = CamerasFileWatcher(given, process_environment())
            configured = await asyncio.to_thread(self._following.read)
            if configured is not None:
                await self.changes.configure(configured)
            self._follower = asyncio.get_running_loop().create_task(self._following.follow(self.changes.configure))

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

    async def _tell_proxies(self) -> None:
        """Keep the cameras told of Serve's proxies; again and again, for one that was being started missed it."""
        if not self._options.service.loopback:
            return
        while True:
            proxies = await healthy_proxies()
            if proxies:
                self._options = replace(self._options, proxies=proxies)
                watches = list(self._roster.running.values())
                await asyncio.gather(*(watch.reroute(self._options) for watch in watches))
            await asyncio.sleep(PROXIES_PERIOD_S)

    async def _report(self) -> None:
        untold = TroubleLog(logger, "the line about the system cannot be written", level=logging.ERROR)
        while True:
            await asyncio.sleep(REPORT_PERIOD_S)
            if self._roster.running:
                try:
                    say(f"sightline: {self._reporter.line(await self._observe())}")
                except Exception as error:  # noqa: BLE001 - the next one may succeed
                    untold.again(type(error).__name__, error=error)

    async def _observe(self) -> Observation:
        cameras, publisher = await asyncio.gather(self.statuses(), publisher_snapshot())
        return Observation(time.monotonic(), cameras, publisher, frozenset(self.camera_ids))

    async def close(self) -> None:
        """End every camera."""
        for task in (*self._tasks, *([self._follower] if self._follower else [])):
            task.cancel()
        await self.changes.close()


def _here() -> CameraManagerBase:
    manager: object = serve.get_replica_context().servable_object
    assert isinstance(manager, CameraManagerBase)
    return manager


def _api() -> FastAPI:
    # Built in the replica: an application that was pickled has lost what its parameters allow.
    return build_api(_here)


@serve.deployment(name="CameraManager", user_config={})
@serve.ingress(_api)
class CameraManager(CameraManagerBase):
    """The camera manager behind the HTTP API."""

    async def __del__(self) -> None:
        await self.close()
