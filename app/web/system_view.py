"""SystemView: everything that the HTTP API answers, gathered from the fleet, its running cameras and the cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from app.cameras import CameraStatus, Cursor, NewFrames, Picture
from app.fleet import DesiredCamera, DesiredRules, Fleet
from app.fleet.status_line import Observation
from app.fleet.supervisor import SupervisedCamera
from app.publisher import PublisherSnapshot
from app.web.facts import BrokerFacts, CameraFacts, DeploymentFacts, Health, LoadFacts, SystemFacts


class RunningCamera(Protocol):
    """One camera that runs, asked through its supervisor."""

    async def snapshot(self) -> SupervisedCamera:
        """Return its report and what its supervisor knows."""

    async def status(self) -> CameraStatus | None:
        """Return its status; ``None`` while it does not answer."""

    async def picture(self) -> Picture | None:
        """Return its newest frame; ``None`` before its first, or while it does not answer."""

    async def ask(self, method: str, *arguments: object) -> Any:
        """Call a method of its actor; return ``None`` while it does not answer."""


class Cluster(Protocol):
    """The parts of the system beside the cameras; each answer is ``None`` or empty while its part is unreachable."""

    async def publisher(self, seconds: float | None = None) -> PublisherSnapshot | None:
        """Return the publisher's counts; with ``seconds`` the latencies are those of the last so many seconds."""

    async def load(self) -> LoadFacts | None:
        """Return what the ingress has in hand."""

    async def deployments(self) -> tuple[DeploymentFacts, ...]:
        """Return every deployment."""


class SystemView:
    """The one :class:`~app.web.facts.SystemSource` of a running system. For one event loop."""

    def __init__(
        self,
        fleet: Fleet,
        rules: DesiredRules,
        running: Mapping[str, RunningCamera],
        cluster: Cluster,
        broker: BrokerFacts,
        *,
        budget_ms: Callable[[], float],
        trouble: Callable[[], str],
        rules_trouble: Callable[[], str],
    ) -> None:
        """Look at a system.

        Args:
            fleet: the desired cameras.
            rules: the desired rules.
            running: the running cameras, by id; looked up at each question.
            cluster: publisher, ingress and deployments.
            broker: where events go.
            budget_ms: returns the latency budget that is in force.
            trouble: returns why the configuration of the cameras is not in force; empty: it is.
            rules_trouble: returns why that of the rules is not in force; empty: it is.
        """
        self._fleet = fleet
        self._rules = rules
        self._running = running
        self._cluster = cluster
        self._broker = broker
        self._budget_ms = budget_ms
        self._trouble = trouble
        self._rules_trouble = rules_trouble
        self._started_at = datetime.now(UTC)

    @property
    def camera_ids(self) -> Sequence[str]:
        """Ids of the desired cameras."""
        return [camera.settings.id for camera in self._fleet.desired]

    async def observe(self) -> Observation:
        """Ask the cameras and the publisher how they are now."""
        cameras, publisher = await asyncio.gather(self.statuses(), self._cluster.publisher())
        return Observation(time.monotonic(), cameras, publisher, frozenset(self.camera_ids))

    async def health(self) -> Health:
        """Return whether the system is ready (see :func:`health_of`)."""
        return health_of(await self.observe())

    async def new_frames(self, after: Mapping[str, Cursor]) -> Sequence[NewFrames]:
        """Return the frames of each camera that answers, since its cursor."""
        asked = [camera.ask("new_frames", after[name]) for name, camera in self._running.items() if name in after]
        return [frames for frames in await asyncio.gather(*asked) if frames is not None]

    async def picture(self, camera_id: str) -> Picture | None:
        """Return the newest frame of a camera; ``None`` before its first, or while it does not answer."""
        camera = self._running.get(camera_id)
        return None if camera is None else await camera.picture()

    async def facts(self, viewers: int, seconds: float | None = None) -> SystemFacts:
        """Gather the facts; with ``seconds`` Kafka's latencies are of the events of the last so many seconds."""
        cameras, publisher, load, deployments = await asyncio.gather(
            self._camera_facts(), self._cluster.publisher(seconds), self._cluster.load(), self._cluster.deployments()
        )
        return SystemFacts(
            at=datetime.now(UTC),
            budget_ms=self._budget_ms(),
            cameras=cameras,
            publisher=publisher,
            deployments=deployments,
            load=load,
            broker=self._broker,
            viewers=viewers,
            cameras_trouble=self._trouble(),
            rules_trouble=self._rules_trouble() or self._rules.trouble,
            rules_version=self._rules.version,
        )

    async def statuses(self) -> list[CameraStatus]:
        """Return the status of each camera that answers."""
        asked = await asyncio.gather(*(camera.status() for camera in self._running.values()))
        return [status for status in asked if status is not None]

    async def _camera_facts(self) -> tuple[CameraFacts, ...]:
        return tuple(await asyncio.gather(*(self._facts_of(camera) for camera in self._fleet.desired)))

    async def _facts_of(self, camera: DesiredCamera) -> CameraFacts:
        running = self._running.get(camera.settings.id)
        if running is not None:
            return camera_facts(camera, await running.snapshot())
        waiting = "waiting for the inference application"
        settings = self._fleet.resolved(camera)
        return camera_facts(camera, SupervisedCamera(settings, None, waiting, self._started_at, restarts=0))


def camera_facts(desired: DesiredCamera, camera: SupervisedCamera) -> CameraFacts:
    """Return the facts of one camera, as desired and as it runs."""
    return CameraFacts(
        id=camera.settings.id,
        url=str(camera.settings.url),
        fps_asked=camera.settings.fps or 0.0,
        status=camera.report.status if camera.report else None,
        silence=camera.silence,
        silent_since=camera.silent_since,
        latencies=camera.report.latencies if camera.report else (),
        restarts=camera.restarts,
        requested=desired.settings,
        origin=desired.origin,
    )


def health_of(observation: Observation) -> Health:
    """Return whether every camera is live and not blocked, or its recording has ended, and the publisher answers."""
    cameras = observation.cameras
    reasons = [
        f"camera {status.id} is {status.state}: {status.reason}"
        for status in cameras
        if status.state not in ("live", "ended")
    ]
    reasons += [
        f"camera {status.id} is blocked: {status.blocked}"
        for status in cameras
        if status.blocked is not None and status.state == "live"
    ]
    missing = len(observation.desired) - len(cameras)
    reasons += [f"{missing} cameras are being started"] if missing else []
    reasons += [] if observation.publisher is not None else ["the inference application is not available"]
    return Health(ready=not reasons, reasons=tuple(reasons))
