"""Reconciler: brings the cameras that run to those that are wanted, each by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from app.cameras import CameraStatus
from app.settings.cameras import CameraSettings

logger = logging.getLogger("ray.serve")


class CameraHandle(Protocol):
    """What keeps one camera running."""

    @property
    def settings(self) -> CameraSettings:
        """The camera, as it runs."""

    async def stop(self) -> CameraStatus | None:
        """End it, its last frames settled if it still can; give its last word, if it had one."""


K = TypeVar("K", bound=CameraHandle)


class Reconciler(Generic[K]):
    """Compares what is wanted with what runs, and touches only what differs.

    Each camera that differs has one task that stops and starts it until it is as wanted, so the successor of a changed
    camera starts once its predecessor has settled its last frame, and no camera waits for another. For one event loop.
    """

    def __init__(self, make: Callable[[CameraSettings], K]) -> None:
        self._make = make
        self._wanted: dict[str, CameraSettings] = {}
        self._running: dict[str, K] = {}
        self._converging: dict[str, asyncio.Task[CameraStatus | None]] = {}
        self._begun = False

    @property
    def running(self) -> Mapping[str, K]:
        """What runs now, by camera id."""
        return self._running

    def begin(self) -> None:
        """Start what is wanted; before, it is only noted."""
        self._begun = True
        self._reconcile()

    def want(self, cameras: Iterable[CameraSettings]) -> None:
        """Say which cameras there should be; the difference is made up at once, beside the caller."""
        self._wanted = {camera.id: camera for camera in cameras}
        self._reconcile()

    async def settled(self, camera_id: str) -> CameraStatus | None:
        """Wait until a camera is as wanted; give the last word of the one that was stopped for that, if any."""
        task = self._converging.get(camera_id)
        return None if task is None else await asyncio.shield(task)

    async def close(self) -> None:
        """End every camera, all at the same time."""
        self.want(())
        await asyncio.gather(*self._converging.values())

    def _reconcile(self) -> None:
        if not self._begun:
            return
        for camera_id in {**self._wanted, **self._running}:  # in the order they are wanted in
            if self._differs(camera_id) and camera_id not in self._converging:
                work = self._converge(camera_id)
                self._converging[camera_id] = asyncio.get_running_loop().create_task(work)

    async def _converge(self, camera_id: str) -> CameraStatus | None:
        last_word = None
        while self._differs(camera_id):
            if camera_id in self._running:
                last_word = await self._stop(camera_id)
            wanted = self._wanted.get(camera_id)  # as of now: it may have changed meanwhile
            if wanted is not None:
                about = {"camera_id": camera_id}
                logger.info("camera %s: %s at %g fps", camera_id, wanted.url, wanted.fps, extra=about)
                self._running[camera_id] = self._make(wanted)
        del self._converging[camera_id]
        return last_word

    async def _stop(self, camera_id: str) -> CameraStatus | None:
        try:
            return await self._running[camera_id].stop()
        except Exception:
            logger.exception("camera %s was not stopped as it should", camera_id, extra={"camera_id": camera_id})
            return None
        finally:
            del self._running[camera_id]

    def _differs(self, camera_id: str) -> bool:
        running = self._running.get(camera_id)
        return (None if running is None else running.settings) != self._wanted.get(camera_id)
