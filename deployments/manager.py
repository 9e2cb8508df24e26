"""CameraManager: owns the camera actors, and answers the HTTP API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve

from app.cameras import CameraStatus
from app.cameras.telemetry import CameraTelemetry, ReportedTelemetry
from app.fleet import DesiredRules, Fleet, Reconciler, RuleSender, camera_store, rule_store
from app.fleet.configuration import ConfiguredDefaults, FleetConfiguration
from app.fleet.startup import wait_while_deploying
from app.fleet.status_line import StatusLine
from app.fleet.supervisor import CameraSupervisor
from app.settings.camera_lists import ConfiguredCameras
from app.settings.cameras import CameraSettings
from app.settings.environment import process_environment
from app.settings.rule_lists import ConfiguredRules
from app.telemetry.trouble_log import TroubleLog
from app.web import BrokerFacts, Health, Incidents, Readings, build_api
from app.web.system_view import SystemView
from deployments.actor_logs import log_as_serve
from deployments.camera import CameraServiceOptions
from deployments.camera_actors import RayCameraActors
from deployments.cluster import RayCluster
from deployments.logs import print_to_terminal
from deployments.metrics import ray_meter

logger = logging.getLogger("ray.serve")

REPORT_PERIOD_S = 10.0
"""How often the status line is written."""
PROXIES_PERIOD_S = 3.0
"""How often the cameras are sent Serve's proxies."""
RULES_PERIOD_S = 3.0
"""How often the publisher's shards are sent the rules: one that was started again may have missed a change."""
STARTUP_PATIENCE_S = 120.0
"""How long cameras wait for the inference application before they start without it."""
PREDECESSOR_PATIENCE_S = 15.0
"""How long a manager that is being replaced may take to stop its cameras; Serve gives it 10 s."""
CONFIG_PATIENCE_S = 2.0
"""Serve calls ``reconfigure`` within this time of a replica's start, unless ``user_config`` is null."""


@dataclass(frozen=True)
class CameraPlan:
    """Which cameras and rules there should be, as known where the application is built."""

    defaults: ConfiguredDefaults
    """What the settings say where ``user_config`` says nothing."""
    configured: ConfiguredCameras
    """The cameras configured then."""
    rules: ConfiguredRules
    """The rules configured then."""
    fps: float
    """Frame rate of a camera without one of its own."""
    state_dir: Path
    """Folder of the changes made at run time."""


class CameraManagerBase:
    """Wires fleet, supervisors and HTTP API to Ray, and runs the periodic work."""

    def __init__(self, plan: CameraPlan, options: CameraServiceOptions, broker: BrokerFacts) -> None:
        log_as_serve()
        self._cluster = RayCluster()
        self._actors = RayCameraActors(options)
        self._ending: set[asyncio.Task[None]] = set()
        self._reconciler = Reconciler(self._supervise, removed=self._end_incidents)
        self.changes = Fleet(plan.configured, camera_store(plan.state_dir), self._reconciler, plan.fps)
        self.rules = DesiredRules(plan.rules, rule_store(plan.state_dir), RuleSender(self._cluster.set_rules))
        self._configuration = FleetConfiguration(
            plan.defaults,
            process_environment(),
            apply_cameras=self.changes.configure,
            apply_rules=self.rules.configure,
            apply_budget=self._set_budget,
        )
        self._view = SystemView(
            self.changes,
            self.rules,
            self._reconciler.running,
            self._cluster,
            broker,
            budget_ms=lambda: self._actors.options.budget_ms,
            trouble=lambda: self._configuration.trouble,
            rules_trouble=lambda: self._configuration.rules_trouble,
        )
        self.readings = Readings(self._view)
        self.incidents = Incidents(self._cluster)
        self._status_line = StatusLine(options.budget_ms)
        self._tasks = [asyncio.get_running_loop().create_task(work) for work in self._work()]

    def _work(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._start(), self._report(), self._send_proxies()

    def _supervise(self, settings: CameraSettings) -> CameraSupervisor:
        telemetry = ReportedTelemetry(CameraTelemetry(settings.id, ray_meter()))
        return CameraSupervisor(settings, self._actors, telemetry)

    def _end_incidents(self, camera_id: str) -> None:
        """End the incidents of a camera that was removed, beside whoever removes it."""
        task = asyncio.get_running_loop().create_task(self._cluster.end_camera(camera_id))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def reconfigure(self, user_config: Any) -> None:
        """Apply the deployment's ``user_config``; ``serve deploy`` with another one calls this in a running manager.

        A mistake in it is logged and changes nothing: Serve would replace a replica that raises here.
        """
        await self._configuration.reconfigure(user_config)

    @property
    def token(self) -> str | None:
        """The bearer token of the HTTP API."""
        token = self._actors.options.token
        return token.get_secret_value() if token else None

    async def health(self) -> Health:
        """Return whether the system is ready."""
        return await self._view.health()

    async def statuses(self) -> list[CameraStatus]:
        """Return the status of each camera that answers."""
        return await self._view.statuses()

    async def stop_cameras(self) -> None:
        """Stop every camera, the frames in flight settled; none is started after that.

        ``deployments/driver.py`` calls this before Serve ends the proxies through which cameras send.
        """
        await self.close()

    async def close(self) -> None:
        """Stop every camera."""
        for task in self._tasks:
            task.cancel()
        self._configuration.close()
        self.rules.close()
        await self.changes.close()

    async def _start(self) -> None:
        await self._configuration.start(CONFIG_PATIENCE_S)
        await self.changes.open(PREDECESSOR_PATIENCE_S)
        await self.rules.open(PREDECESSOR_PATIENCE_S)
        await wait_while_deploying(self._cluster.is_deploying, STARTUP_PATIENCE_S)
        self._tasks.append(asyncio.get_running_loop().create_task(self.rules.follow(RULES_PERIOD_S)))
        self._reconciler.start()

    async def _set_budget(self, budget_ms: int) -> None:
        """Set the latency budget of every frame that is sent from now on; no camera is restarted."""
        if budget_ms == self._actors.options.budget_ms:
            return
        logger.info("the latency budget is %d ms instead of %d", budget_ms, self._actors.options.budget_ms)
        self._actors.set_budget(budget_ms)
        self._status_line.set_budget(budget_ms)
        await self._ask_all("set_budget", budget_ms)

    async def _send_proxies(self) -> None:
        """Send the cameras Serve's proxies, periodically: a camera that was starting has missed them."""
        if not self._actors.options.service.loopback:
            return
        while True:
            proxies = await self._cluster.healthy_proxies()
            if proxies:
                self._actors.set_proxies(proxies)
                await self._ask_all("set_proxies", proxies)
            await asyncio.sleep(PROXIES_PERIOD_S)

    async def _ask_all(self, method: str, argument: object) -> None:
        supervisors = list(self._reconciler.running.values())
        await asyncio.gather(*(supervisor.ask(method, argument) for supervisor in supervisors))

    async def _report(self) -> None:
        failures = TroubleLog(logger, "the status line cannot be written", level=logging.ERROR)
        while True:
            await asyncio.sleep(REPORT_PERIOD_S)
            if self._reconciler.running:
                try:
                    print_to_terminal(f"sightline: {self._status_line.line(await self._view.observe())}")
                except Exception as error:  # noqa: BLE001 - the next one may succeed
                    failures.report(type(error).__name__, error=error)


def _manager() -> CameraManagerBase:
    manager: object = serve.get_replica_context().servable_object
    assert isinstance(manager, CameraManagerBase)
    return manager


def _api() -> FastAPI:
    # Built in the replica: an application that was pickled has lost the constraints of its parameters.
    return build_api(_manager)


@serve.deployment(name="CameraManager", user_config={})
@serve.ingress(_api)
class CameraManager(CameraManagerBase):
    """The camera manager behind the HTTP API."""

    async def __del__(self) -> None:
        await self.close()
