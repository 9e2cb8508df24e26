"""CameraSupervisor: keeps one camera's actor alive."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime, timezone
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from app.cameras import CameraStatus, Picture
from app.cameras.epochs import OUTDATED_EPOCH, Epochs
from app.cameras.telemetry import CameraTelemetry, ReportedTelemetry
from app.core.backoff import Backoff
from app.core.tasks import end
from app.fleet import DesiredCamera, LivenessProbe
from app.settings.cameras import CameraSettings
from app.telemetry.trouble_log import TroubleLog
from app.web import CameraFacts, CameraNews, Cursor
from deployments.camera import CameraActor, CameraLook, CameraServiceOptions, logger
from deployments.cluster import ANSWER_TIMEOUT_S
from deployments.metrics import RayMeter
from deployments.nodes import CameraPlaces

RESTART_FIRST_S, RESTART_MOST_S = 0.2, 10.0
"""Pause before a camera whose actor died gets a new one; it grows while they die young."""
GROWN_UP_S = 30.0
"""An actor that lived so long did not die of what its predecessors died of."""
STOP_TIMEOUT_S = 7.0
"""What a camera may take to settle its last frames."""
A_BYTE = 1
"""Every node has it. An actor that asks for nothing at all is handed to a node by chance first, even to one that has
fallen silent, where it hangs; and where it lands there it stays: a soft affinity was heeded for 2 of 6 (Ray 2.60)."""
COUNT_PERIOD_S, KNOCK_PERIOD_S = 2.0, 0.25
"""How often a camera is asked for what its metrics tell, and how soon again where it does not answer."""
_ACTOR_CLASS = ray.remote(CameraActor)
"""Made once: to Ray each ``ray.remote`` is another class, whose methods this process remembers for good (17 KB with Ray
2.60), and whose code the cluster's head keeps (15 KB)."""


class CameraSupervisor:
    """Keeps one camera's actor alive: a dead one is made again with the same id, in a new epoch.

    It also feeds the camera's metrics: a series of Ray's belongs to a process and stays when that ends, so those of a
    camera belong to its manager's process, not to the actors that come and go.
    """

    def __init__(self, settings: CameraSettings, options: CameraServiceOptions, places: CameraPlaces) -> None:
        self.settings = settings
        self._places = places
        self.restarts = 0
        self._options = options
        self._telemetry = ReportedTelemetry(CameraTelemetry(settings.id, RayMeter()))
        self._epochs = Epochs()
        self._actor: Any = None
        self._answers = False
        self._silence_of_actor = LivenessProbe(ANSWER_TIMEOUT_S)
        self._pause = Backoff(RESTART_FIRST_S, RESTART_MOST_S)
        self._deaths = TroubleLog(logger, f"camera {settings.id}: its actor died", camera_id=settings.id)
        self._silence = "its process is being started" + _where(settings)
        self._silent_since = datetime.now(timezone.utc)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep()), loop.create_task(self._count())]

    async def status(self) -> CameraStatus | None:
        """Ask the actor; none while it is being made, or does not answer."""
        status: CameraStatus | None = await self._ask("status")
        return status

    async def facts(self, wanted: DesiredCamera) -> CameraFacts:
        """Ask the actor, and add what its owner knows."""
        look: CameraLook | None = await self._ask("look")
        return CameraFacts(
            id=self.settings.id,
            url=str(self.settings.url),
            fps_asked=self.settings.fps or 0.0,
            status=look.status if look else None,
            silence=self._silence,
            silent_since=self._silent_since,
            latencies=look.latencies if look else (),
            restarts=self.restarts,
            asked=wanted.settings,
            origin=wanted.origin,
        )

    async def seen(self, after: Cursor) -> CameraNews | None:
        """Ask the actor what it saw; none while it does not answer."""
        news: CameraNews | None = await self._ask("seen", after)
        return news

    async def picture(self) -> Picture | None:
        """Ask the actor for its newest frame; none while it does not answer."""
        picture: Picture | None = await self._ask("picture")
        return picture

    async def rebudget(self, options: CameraServiceOptions) -> None:
        """Give the camera's frames another budget, and those of every actor that is made from now on."""
        self._options = options
        await self._ask("rebudget", options.budget_ms)

    async def reroute(self, options: CameraServiceOptions) -> None:
        """Tell the camera, and every actor that is made from now on, of Serve's proxies."""
        self._options = options
        await self._ask("reroute", options.proxies)

    async def stop(self) -> CameraStatus | None:
        """End the actor, its last frames settled if it still can; give its last word, if it had one."""
        await end(self._tasks)
        self._places.remove(self.settings.id)
        if self._actor is None:
            return None
        last_word: CameraStatus | None = None
        try:
            last_word = await asyncio.wait_for(self._actor.stop.remote(), STOP_TIMEOUT_S)
        except (RayError, asyncio.TimeoutError):
            about = {"camera_id": self.settings.id}
            logger.warning("camera %s did not settle its last frames", self.settings.id, extra=about)
        self._end_actor()
        self._telemetry.report(last_word)
        return last_word

    async def _ask(self, method: str, *arguments: object) -> Any:
        """Ask the actor; none at once where it did not answer when it was asked last: nobody waits for a silent one."""
        return await self._call(method, *arguments) if self._answers else None

    async def _call(self, method: str, *arguments: object) -> Any:
        if self._actor is None:
            return None
        try:
            return await asyncio.wait_for(getattr(self._actor, method).remote(*arguments), ANSWER_TIMEOUT_S)
        except (RayError, asyncio.TimeoutError):
            return None

    async def _count(self) -> None:
        while True:
            actor, began = self._actor, time.monotonic()
            status = await self._call("status")
            self._answers = status is not None
            self._telemetry.report(status)
            if status is not None:
                await self._keep_epoch(status)
            waited_s = time.monotonic() - began
            silent = self._silence_of_actor.note(actor, answered=self._answers, waited_s=waited_s)
            starts_in_doubt = not self._answers and self._places.is_doubtful(self.settings.id)
            if actor is not None and (silent or starts_in_doubt):
                await self._give_up(actor)
            await asyncio.sleep(COUNT_PERIOD_S if self._answers else KNOCK_PERIOD_S)

    async def _keep_epoch(self, status: CameraStatus) -> None:
        """Have the actor take a higher epoch where the service has committed one above its own before it began.

        Only its owner does that: an actor that was replaced, and lives on out of reach, keeps its epoch.
        """
        committed = status.epoch_to_exceed
        if committed is not None and (epoch := self._epochs.exceed(committed)) is not None:
            about = {"camera_id": status.id}
            logger.warning(OUTDATED_EPOCH, status.id, committed, epoch, extra=about)
            await self._call("advance", epoch)

    async def _keep(self) -> None:
        while True:
            born = time.monotonic()
            try:
                self._actor = await self._make()
                await self._actor.run.remote()
                return  # a recording that does not loop has come to its end
            except (RayError, ValueError) as error:
                self.restarts += 1
                self._silence = "its process died; it is made again" + _where(self.settings)
                self._silent_since = datetime.now(timezone.utc)
                lines = str(error).strip().splitlines() or [type(error).__name__]
                # The last line of an error that crossed processes is the error itself; the first says that it did.
                reason = lines[-1] if isinstance(error, RayTaskError | ActorDiedError) else lines[0]
                self._deaths.again(reason)
                self._end_actor()  # it may be only out of reach
                self._places.lose(self.settings.id)
            if time.monotonic() - born >= GROWN_UP_S:
                self._pause.reset()
            await asyncio.sleep(self._pause.next())

    async def _give_up(self, actor: Any) -> None:
        """End an actor that does not answer where another node can take its camera, and have it made again there.

        Its node may be dead without a word, which Ray's head finds after a minute. Should it live on, then its frames
        are refused: they are of an older epoch.
        """
        if await self._places.elsewhere(self.settings) and actor is self._actor:
            about = {"camera_id": self.settings.id}
            logger.warning("camera %s: its process does not answer; it is moved", self.settings.id, extra=about)
            with contextlib.suppress(RayError, ValueError):
                ray.kill(actor)

    async def _make(self) -> Any:
        strategy = await self._places.strategy(self.settings)
        return _ACTOR_CLASS.options(
            num_cpus=0,
            memory=A_BYTE,
            resources=dict(self.settings.resources),
            scheduling_strategy=strategy,
            max_concurrency=16,
        ).remote(self.settings, self._options, self._epochs.begin())

    def _end_actor(self) -> None:
        if self._actor is not None:
            with contextlib.suppress(RayError, ValueError):
                ray.kill(self._actor)
        self._actor, self._answers = None, False


def _where(settings: CameraSettings) -> str:
    asked = ", ".join(f"{name}: {amount:g}" for name, amount in settings.resources.items())
    return f" on a node that has {asked}" if asked else ""
