"""CameraActor: one camera in a process of its own."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import ray
from pydantic import SecretStr

from app.cameras import CameraStatus, Cursor, FrameHistory, NewFrames, Picture
from app.core.anonymiser import Anonymiser
from app.fleet.proxies import Proxy, addresses
from app.fleet.supervisor import CameraReport
from app.settings.cameras import CameraSettings
from app.settings.connections import TlsSettings
from app.settings.evidence import PrivacySettings
from app.settings.service_address import ServiceAddress
from deployments.actor_logs import log_beside_serve

if TYPE_CHECKING:
    from ray.serve.schema import TracingConfig

    from app.cameras.sending.tracing import CameraTracing

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class CameraServiceOptions:
    """How cameras reach the service."""

    service: ServiceAddress
    tls: TlsSettings
    token: SecretStr | None
    budget_ms: int
    tracing: TracingConfig | None = None
    """``None``: tracing is off."""
    proxies: tuple[Proxy, ...] = ()
    """Serve's healthy proxies, where there are several nodes."""
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    """What pictures must not show."""
    classes: tuple[str, ...] = ()
    """Labels that the service keeps, unless the camera names its own; empty: all."""


class CameraActor:
    """One camera in a process of its own; it ends with the manager that started it."""

    def __init__(self, settings: CameraSettings, options: CameraServiceOptions, epoch: int) -> None:
        from app.cameras.camera import Camera  # the manager, which starts this actor, handles no picture
        from app.cameras.sending.client import DetectClient

        log_beside_serve("camera", settings.id)
        self._id, self._service = settings.id, options.service
        self._node: str = ray.get_runtime_context().get_node_id()
        tracing = _tracing(settings.id, options.tracing)
        self._client = DetectClient(
            options.service, tls=options.tls, token=options.token, tracing=tracing, wanted=settings.wanted
        )
        self._route(options.proxies)
        self._camera = Camera(
            settings,
            client=self._client,
            epoch=epoch,
            budget_ms=options.budget_ms,
            history=FrameHistory(
                Anonymiser(options.privacy.anonymise),
                # What is not looked for cannot be hidden.
                shows_pictures=not options.privacy.unseen(settings.wanted, options.classes),
            ),
        )

    async def run(self) -> None:
        """Run the camera until its source has ended, or until :meth:`stop`."""
        try:
            await self._camera.run()
        finally:
            await self._client.close()

    async def stop(self) -> CameraStatus:
        """Stop, settle every frame, and return the last status."""
        await self._camera.stop()
        return self._camera.status()

    async def status(self) -> CameraStatus:
        """Return the camera's status."""
        return self._camera.status()

    async def report(self) -> CameraReport:
        """Return the camera's status, and the latencies of its last frames."""
        return CameraReport(self._camera.status(), self._camera.history.latencies)

    async def new_frames(self, after: Cursor) -> NewFrames:
        """Return the frames answered since a cursor; a cursor of another epoch is ignored."""
        status = self._camera.status()
        number = after.number if after.epoch == status.epoch else 0
        return NewFrames(status.id, status.epoch, self._camera.history.after(number))

    async def advance(self, epoch: int) -> None:
        """Have frames that are sampled from now on ordered by a higher epoch."""
        self._camera.advance(epoch)

    async def set_budget(self, budget_ms: int) -> None:
        """Set the latency budget of frames that are sent from now on, in milliseconds."""
        self._camera.set_budget(budget_ms)

    async def set_proxies(self, proxies: tuple[Proxy, ...]) -> None:
        """Send frames through these proxies of Serve from now on, unless the service's address is fixed."""
        self._route(proxies)

    async def picture(self) -> Picture | None:
        """Return the newest answered frame that may be shown; ``None`` before the first."""
        return await asyncio.to_thread(self._camera.history.picture)

    def _route(self, proxies: tuple[Proxy, ...]) -> None:
        self._client.route(addresses(self._service, proxies, node=self._node, camera_id=self._id))


def _tracing(camera_id: str, config: TracingConfig | None) -> CameraTracing | None:
    if config is None:
        return None
    from deployments.tracing import camera_tracing  # it loads Serve, which a camera has no other use for

    return camera_tracing(camera_id, config)
