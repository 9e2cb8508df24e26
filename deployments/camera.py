"""CameraActor, one per source, and CameraWatch, which keeps it alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import ray
from pydantic import SecretStr
from ray.exceptions import ActorDiedError, RayError, RayTaskError
from ray.serve.schema import TracingConfig

from app.camera_settings import CameraSettings
from app.cameras import Backoff, Camera, CameraStatus, DetectClient, FrameLatency, Picture
from app.cancelling import end
from app.log_lines import TroubleLog
from app.proxies import Proxy, addresses
from app.settings import ServiceAddress, TlsSettings
from app.telemetry import CameraTelemetry, RayMeter, ToldTelemetry
from app.wanted import Silence, WantedCamera
from app.web import CameraFacts, CameraNews, Cursor
from deployments.logs import log_beside_serve
from deployments.observing import ANSWER_TIMEOUT_S
from deployments.placing import CameraPlaces
from deployments.tracing import camera_tracing

logger = logging.getLogger("ray.serve")

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


@dataclass(frozen=True)
class CameraServiceOptions:
    """What every camera needs to know of the service."""

    service: ServiceAddress
    tls: TlsSettings
    token: SecretStr | None
    budget_ms: int
    tracing: TracingConfig | None = None
    """None: tracing is off."""
    proxies: tuple[Proxy, ...] = ()
    """Serve's healthy ones, where there are several nodes."""


@dataclass(frozen=True)
class CameraLook:
    """What a camera's actor tells who looks at it."""

    status: CameraStatus
    latencies: tuple[FrameLatency, ...]


class CameraActor:
    """One camera in a process of its own; it ends with the manager that made it."""

    def __init__(self, settings: CameraSettings, options: CameraServiceOptions, epoch: int) -> None:
        log_beside_serve("camera", settings.id)
        self._id, self._service = settings.id, options.service
        self._node: str = ray.get_runtime_context().get_node_id()
        tracing = camera_tracing(settings.id, options.tracing)
        self._client = DetectClient(options.service, tls=options.tls, token=options.token, tracing=tracing)
        self._route(options.proxies)
        self._camera = Camera(
            settings,
            client=self._client,
            epoch=epoch,
            budget_ms=options.budget_ms,
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

    async def rebudget(self, budget_ms: int) -> None:
        """Give frames that are sent from now on another budget."""
        self._camera.rebudget(budget_ms)

    async def reroute(self, proxies: tuple[Proxy, ...]) -> None:
        """Send frames from now on by these proxies of Serve's, as far as the camera is to ask one."""
        self._route(proxies)

    async def picture(self) -> Picture | None:
        """Give the newest frame that was answered."""
        return self._camera.recent.picture

    def _route(self, proxies: tuple[Proxy, ...]) -> None:
        self._client.route(addresses(self._service, proxies, node=self._node, camera_id=self._id))


_ACTOR_CLASS = ray.remote(CameraActor)
"""Made once: to Ray each ``ray.remote`` is another class, whose methods this process remembers for good (17 KB with Ray
2.60), and whose code the cluster's head keeps (15 KB)."""


class CameraWatch:
    """Keeps one camera's actor alive: a dead one is made again with the same id, in a new epoch.

    It also feeds the camera's metrics: a series of Ray's belongs to a process and stays when that ends, so those of a
    camera belong to its manager's process, not to the actors that come and go.
    """

    def __init__(self, settings: CameraSettings, options: CameraServiceOptions, places: CameraPlaces) -> None:
        self.settings = settings
        self._places = places
        self.restarts = 0
        self._options = options
        self._telemetry = ToldTelemetry(CameraTelemetry(settings.id, RayMeter()))
        self._epoch = 0
        self._actor: Any = None
        self._answers = False
        self._silence_of_actor = Silence(ANSWER_TIMEOUT_S)
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

    async def facts(self, wanted: WantedCamera) -> CameraFacts:
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
        self._telemetry.tell(last_word)
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
            self._telemetry.tell(status)
            waited_s = time.monotonic() - began
            silent = self._silence_of_actor.note(actor, answered=self._answers, waited_s=waited_s)
            starts_in_doubt = not self._answers and self._places.is_doubtful(self.settings.id)
            if actor is not None and (silent or starts_in_doubt):
                await self._give_up(actor)
            await asyncio.sleep(COUNT_PERIOD_S if self._answers else KNOCK_PERIOD_S)

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
        # Milliseconds rise across restarts of everything; the maximum guards against a clock set back.
        self._epoch = max(self._epoch + 1, time.time_ns() // 1_000_000)
        return _ACTOR_CLASS.options(
            num_cpus=0,
            memory=A_BYTE,
            resources=dict(self.settings.resources),
            scheduling_strategy=strategy,
            max_concurrency=16,
        ).remote(self.settings, self._options, self._epoch)

    def _end_actor(self) -> None:
        if self._actor is not None:
            with contextlib.suppress(RayError, ValueError):
                ray.kill(self._actor)
        self._actor, self._answers = None, False


def _where(settings: CameraSettings) -> str:
    asked = ", ".join(f"{name}: {amount:g}" for name, amount in settings.resources.items())
    return f" on a node that has {asked}" if asked else ""
