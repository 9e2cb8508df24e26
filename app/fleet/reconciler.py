"""Reconciler: makes the running cameras the desired ones, each camera independently."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from app.cameras import CameraStatus
from app.settings.cameras import CameraSettings

logger = logging.getLogger("ray.serve")


class CameraHandle(Protocol):
    """One running camera."""

    @property
    def settings(self) -> CameraSettings:
        """The settings it runs with."""

    async def stop(self) -> CameraStatus | None:
        """Stop it, its last frames settled if possible; return its last status, if it answered."""


K = TypeVar("K", bound=CameraHandle)


class Reconciler(Generic[K]):
    """Compares the desired cameras with the running ones, and touches only those that differ.

    Each camera that differs has one task that stops and starts it until it is as desired, so the successor of a changed
    camera starts once its predecessor has settled its last frame, and no camera waits for another. For one event loop.
    """

    def __init__(
        self, start_camera: Callable[[CameraSettings], K], *, removed: Callable[[str], None] | None = None
    ) -> None:
        """Prepare; nothing starts before :meth:`start`.

        Args:
            start_camera: starts a camera.
            removed: called with the id of a camera that has ended and is not to start again; not for those that end
                because all do.
        """
        self._start_camera = start_camera
        self._removed = removed
        self._desired: dict[str, CameraSettings] = {}
        self._running: dict[str, K] = {}
        self._converging: dict[str, asyncio.Task[CameraStatus | None]] = {}
        self._started = False
        self._closed = False

    @property
    def running(self) -> Mapping[str, K]:
        """The running cameras, by id."""
        return self._running

    def start(self) -> None:
        """Start the desired cameras; before this call they are only stored."""
        self._started = True
        self._reconcile()

    def set_desired(self, cameras: Iterable[CameraSettings]) -> None:
        """Set the desired cameras; tasks beside the caller start and stop those that differ."""
        self._desired = {camera.id: camera for camera in cameras}
        self._reconcile()

    async def settled(self, camera_id: str) -> CameraStatus | None:
        """Wait until a camera is as desired; return the last status of the one that was stopped for that, if any."""
        task = self._converging.get(camera_id)
        return None if task is None else await asyncio.shield(task)

    async def close(self) -> None:
        """Stop every camera, all at the same time; none is started after that, whatever is desired."""
        self._closed = True
        self._reconcile()
        await asyncio.gather(*self._converging.values())

    def _reconcile(self) -> None:
        if not self._started:
            return
        for camera_id in {**self._desired, **self._running}:  # in the desired order
            if self._differs(camera_id) and camera_id not in self._converging:
                work = self._converge(camera_id)
                self._converging[camera_id] = asyncio.get_running_loop().create_task(work)

    async def _converge(self, camera_id: str) -> CameraStatus | None:
        last_status = None
        while self._differs(camera_id):
            if camera_id in self._running:
                last_status = await self._stop(camera_id)
            desired = self._wanted(camera_id)  # it may have changed meanwhile
            if desired is not None:
                about = {"camera_id": camera_id}
                logger.info("camera %s: %s at %g fps", camera_id, desired.url, desired.fps, extra=about)
                self._running[camera_id] = self._start_camera(desired)
        del self._converging[camera_id]
        if camera_id not in self._running and self._removed is not None and not self._closed:
            self._removed(camera_id)
        return last_status

    async def _stop(self, camera_id: str) -> CameraStatus | None:
        try:
            return await self._running[camera_id].stop()
        except Exception:
            logger.exception("camera %s did not stop cleanly", camera_id, extra={"camera_id": camera_id})
            return None
        finally:
            del self._running[camera_id]

    def _differs(self, camera_id: str) -> bool:
        running = self._running.get(camera_id)
        return (None if running is None else running.settings) != self._wanted(camera_id)

    def _wanted(self, camera_id: str) -> CameraSettings | None:
        return None if self._closed else self._desired.get(camera_id)
