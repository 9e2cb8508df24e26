"""CameraSupervisor: keeps one camera's actor alive, wherever it runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from app.cameras import CameraStatus, FrameLatency, Picture
from app.cameras.epochs import OUTDATED_EPOCH, Epochs
from app.cameras.telemetry import ReportedTelemetry
from app.core.backoff import Backoff
from app.core.tasks import end
from app.errors import ActorDied
from app.fleet.liveness import LivenessProbe
from app.settings.cameras import CameraSettings
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class SupervisorTiming:
    """Periods and time-outs, in seconds."""

    answer_s: float = 3.0
    """Time-out of a call."""
    stop_s: float = 7.0
    """Time-out of settling a camera's last frames."""
    restart_first_s: float = 0.2
    """Pause before a camera whose actor died gets a new one; it doubles while actors die early."""
    restart_max_s: float = 10.0
    stable_s: float = 30.0
    """An actor that lived so long did not die early: the pause starts from ``restart_first_s`` again."""
    probe_s: float = 2.0
    """How often an actor is asked for its status, which feeds its metrics."""
    probe_again_s: float = 0.25
    """The same while it does not answer."""


DEFAULT_TIMING = SupervisorTiming()


@dataclass(frozen=True)
class CameraReport:
    """What a camera's actor returns of itself."""

    status: CameraStatus
    latencies: tuple[FrameLatency, ...]
    """Of its last accepted frames."""


@dataclass(frozen=True)
class SupervisedCamera:
    """One camera as its supervisor knows it."""

    settings: CameraSettings
    report: CameraReport | None
    """``None`` while the actor is starting, or does not answer."""
    silence: str
    """Why there is no report."""
    silent_since: datetime
    """UTC."""
    restarts: int
    """Times its actor died and was started again."""


class ActorHandle(Protocol):
    """A camera's actor, called from another process."""

    async def run(self) -> None:
        """Return once the camera's source has ended.

        Raises:
            ActorDied: the actor has died, or cannot be reached.
        """

    async def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the actor and return its result.

        Raises:
            ActorDied: the actor has died, or cannot be reached.
        """

    def kill(self) -> None:
        """End its process at once; one that has ended already is no error."""


class CameraActors(Protocol):
    """Starts camera actors, and knows the nodes that they run on."""

    async def start(self, settings: CameraSettings, epoch: int) -> ActorHandle:
        """Start a camera's actor in a new epoch.

        Raises:
            ActorDied: it cannot be started.
        """

    async def can_move(self, settings: CameraSettings) -> bool:
        """Return whether another node could run a camera."""

    def is_on_avoided_node(self, camera_id: str) -> bool:
        """Return whether a camera's actor is on a node that may be dead, because there was no other."""

    def actor_died(self, camera_id: str) -> None:
        """Record that a camera's actor died."""

    def remove(self, camera_id: str) -> None:
        """Remove a camera."""


class CameraSupervisor:
    """Keeps one camera's actor alive: a dead one is started again with the same camera id, in a new epoch.

    It also feeds the camera's metrics: a metric series belongs to a process and remains when that ends, so the series
    of a camera belong to its supervisor's process, not to the actors that start and end.
    """

    def __init__(
        self,
        settings: CameraSettings,
        actors: CameraActors,
        telemetry: ReportedTelemetry,
        timing: SupervisorTiming = DEFAULT_TIMING,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Start the camera's actor, from the running event loop.

        Args:
            settings: the camera, its frame rate resolved.
            actors: starts the actors.
            telemetry: the camera's metrics.
            timing: periods and time-outs.
            wall_ns: nanoseconds since 1970; epochs are made of it.
        """
        self.settings = settings
        self._actors = actors
        self._telemetry = telemetry
        self._timing = timing
        self._epochs = Epochs(wall_ns=wall_ns)
        self._restarts = 0
        self._actor: ActorHandle | None = None
        self._answers = False
        self._has_answered = False
        self._liveness = LivenessProbe(timing.answer_s)
        self._backoff = Backoff(timing.restart_first_s, timing.restart_max_s)
        self._deaths = TroubleLog(logger, f"camera {settings.id}: its actor died", camera_id=settings.id)
        self._silence = "its process is being started" + _required_node(settings)
        self._silent_since = datetime.now(UTC)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep_running()), loop.create_task(self._keep_probing())]

    async def snapshot(self) -> SupervisedCamera:
        """Return the actor's report, and what is known of the camera without it."""
        report: CameraReport | None = await self.ask("report")
        return SupervisedCamera(self.settings, report, self._silence, self._silent_since, self._restarts)

    async def status(self) -> CameraStatus | None:
        """Return the actor's status; ``None`` while it is starting, or does not answer."""
        status: CameraStatus | None = await self.ask("status")
        return status

    async def picture(self) -> Picture | None:
        """Return the camera's newest frame; ``None`` before its first, or while its actor does not answer."""
        picture: Picture | None = await self.ask("picture")
        return picture

    async def ask(self, method: str, *arguments: object) -> Any:
        """Call a method of the actor; return ``None``, at once, where it did not answer the last probe."""
        return await self._call(method, *arguments) if self._answers else None

    async def stop(self) -> CameraStatus | None:
        """End the actor, its last frames settled if possible; return its last status, if it answered."""
        await end(self._tasks)
        self._actors.remove(self.settings.id)
        if self._actor is None:
            return None
        last_status: CameraStatus | None = None
        # One that has never answered is being started, and has hardly a frame to settle.
        patience_s = self._timing.stop_s if self._has_answered else self._timing.answer_s
        try:
            last_status = await asyncio.wait_for(self._actor.call("stop"), patience_s)
        except (ActorDied, TimeoutError):
            if self._has_answered:
                about = {"camera_id": self.settings.id}
                logger.warning("camera %s did not settle its last frames", self.settings.id, extra=about)
        self._end_actor()
        self._telemetry.report(last_status)
        return last_status

    async def _call(self, method: str, *arguments: object) -> Any:
        if self._actor is None:
            return None
        try:
            return await asyncio.wait_for(self._actor.call(method, *arguments), self._timing.answer_s)
        except (ActorDied, TimeoutError):
            return None

    async def _keep_probing(self) -> None:
        while True:
            actor, began = self._actor, time.monotonic()
            status = await self._call("status")
            self._answers = status is not None
            self._has_answered |= self._answers
            self._telemetry.report(status)
            if status is not None:
                await self._raise_epoch(status)
            waited_s = time.monotonic() - began
            silent = self._liveness.record(actor, answered=self._answers, waited_s=waited_s)
            may_never_start = not self._answers and self._actors.is_on_avoided_node(self.settings.id)
            if actor is not None and (silent or may_never_start):
                await self._move(actor)
            await asyncio.sleep(self._timing.probe_s if self._answers else self._timing.probe_again_s)

    async def _raise_epoch(self, status: CameraStatus) -> None:
        """Have the actor take a higher epoch where the service had committed one above its own before it began.

        Only its owner does that: an actor that was replaced, and lives on out of reach, keeps its epoch.
        """
        committed = status.epoch_to_exceed
        if committed is not None and (epoch := self._epochs.exceed(committed)) is not None:
            logger.warning(OUTDATED_EPOCH, status.id, committed, epoch, extra={"camera_id": status.id})
            await self._call("advance", epoch)

    async def _keep_running(self) -> None:
        while True:
            started = time.monotonic()
            try:
                self._actor = await self._start()
                await self._actor.run()
                return  # a recording that does not loop has ended
            except ActorDied as error:
                self._restarts += 1
                self._silence = "its process died; it is being started again" + _required_node(self.settings)
                self._silent_since = datetime.now(UTC)
                self._deaths.report(str(error))
                self._end_actor()  # it may only be out of reach
                self._actors.actor_died(self.settings.id)
            if time.monotonic() - started >= self._timing.stable_s:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.next())

    async def _start(self) -> ActorHandle:
        return await self._actors.start(self.settings, self._epochs.begin())

    async def _move(self, actor: ActorHandle) -> None:
        """End an actor that does not answer where another node can run its camera; it is then started there.

        Its node may be dead, which Ray's head detects after a minute. If the actor lives on, its frames are refused:
        they have an older epoch.
        """
        if await self._actors.can_move(self.settings) and actor is self._actor:
            about = {"camera_id": self.settings.id}
            logger.warning("camera %s: its process does not answer; it is moved", self.settings.id, extra=about)
            actor.kill()

    def _end_actor(self) -> None:
        if self._actor is not None:
            self._actor.kill()
        self._actor, self._answers, self._has_answered = None, False, False


def _required_node(settings: CameraSettings) -> str:
    required = ", ".join(f"{name}: {amount:g}" for name, amount in settings.resources.items())
    return f" on a node that has {required}" if required else ""
