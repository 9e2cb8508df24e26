"""CameraActor, one per source, and CameraSupervisor, which keeps it alive."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import ray
from pydantic import SecretStr
from ray.serve.schema import TracingConfig

from app.cameras import Camera, CameraStatus, DetectClient, FrameLatency, Picture
from app.fleet.proxies import Proxy, addresses
from app.settings.cameras import CameraSettings
from app.settings.connections import TlsSettings
from app.settings.service_address import ServiceAddress
from app.web import CameraNews, Cursor
from deployments.logs import log_beside_serve
from deployments.tracing import camera_tracing

logger = logging.getLogger("ray.serve")


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
        return CameraLook(self._camera.status(), self._camera.history.latencies)

    async def seen(self, after: Cursor) -> CameraNews:
        """Tell what was seen since a cursor; one of another life of this actor counts for nothing."""
        status = self._camera.status()
        number = after.number if after.epoch == status.epoch else 0
        return CameraNews(status.id, status.epoch, self._camera.history.after(number))

    async def advance(self, epoch: int) -> None:
        """Have frames that are sampled from now on ordered by a higher epoch."""
        self._camera.advance(epoch)

    async def rebudget(self, budget_ms: int) -> None:
        """Give frames that are sent from now on another budget."""
        self._camera.set_budget(budget_ms)

    async def reroute(self, proxies: tuple[Proxy, ...]) -> None:
        """Send frames from now on by these proxies of Serve's, as far as the camera is to ask one."""
        self._route(proxies)

    async def picture(self) -> Picture | None:
        """Give the newest frame that was answered."""
        return self._camera.history.picture

    def _route(self, proxies: tuple[Proxy, ...]) -> None:
        self._client.route(addresses(self._service, proxies, node=self._node, camera_id=self._id))
