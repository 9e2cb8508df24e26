"""Fleet: which cameras there should be, and every way to change that; all end in the same reconciliation."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from app.cameras import CameraStatus
from app.errors import CameraExists, CameraUnknown, ChangeNotKept
from app.fleet.override_store import OverrideStore
from app.fleet.overrides import DesiredCamera, Overrides
from app.fleet.reconciler import K, Reconciler
from app.settings.camera_lists import ConfiguredCameras
from app.settings.cameras import CameraSettings

logger = logging.getLogger("ray.serve")

T = TypeVar("T")
ACQUIRE_POLL_S = 0.2
"""How often the folder of the overrides is tried while a predecessor still has it."""


class Fleet:
    """The desired cameras: those configured, with the overrides made at run time applied.

    An override is on the disk before it takes effect. For one event loop.
    """

    def __init__(
        self, configured: ConfiguredCameras, store: OverrideStore, reconciler: Reconciler[K], fps: float
    ) -> None:
        """Set the configured cameras as desired; ``fps`` is the frame rate of a camera without one of its own."""
        self._configured = configured
        self._store = store
        self._reconciler = reconciler
        self._fps = fps
        self._overrides = Overrides()
        self._acquired = False
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._reconcile()

    @property
    def desired(self) -> Sequence[DesiredCamera]:
        """Every camera there should be."""
        return self._desired

    def resolved(self, camera: DesiredCamera) -> CameraSettings:
        """Return a camera's settings with its frame rate resolved."""
        return camera.settings.with_fps(self._fps)

    async def open(self, patience_s: float) -> None:
        """Load the overrides of the last run; failing that, log it and run what is configured.

        Args:
            patience_s: how long a predecessor that is being shut down may still hold them.
        """
        end = time.monotonic() + patience_s
        try:
            while not await asyncio.to_thread(self._store.acquire) and time.monotonic() < end:  # noqa: ASYNC110 - a file lock has no event
                await asyncio.sleep(ACQUIRE_POLL_S)
            async with self._lock:
                await self._acquire()
        except ChangeNotKept as error:
            logger.error("cameras: changes made at run time are not loaded: %s", error)

    async def add(self, camera: CameraSettings) -> None:
        """Add a camera.

        Raises:
            CameraExists: its id is taken.
            SettingsError: a secret in its URL is redacted.
            ChangeNotKept: the change could not be written, so it was not made.
        """
        camera.url.refuse_redacted()
        await self._shielded(self._add(camera))
        await self._reconciler.settled(camera.id)

    async def replace(self, camera: CameraSettings) -> None:
        """Change a camera, and wait until the last frames of the old one are settled.

        A URL in its redacted form keeps the camera's secrets.

        Raises:
            CameraUnknown: there is no camera of that id.
            SettingsError: a secret in its URL is redacted, and the URL is not the redacted form of the camera's own.
            ChangeNotKept: the change could not be written, so it was not made.
        """
        await self._shielded(self._replace(camera))
        await self._reconciler.settled(camera.id)

    async def remove(self, camera_id: str) -> CameraStatus | None:
        """Remove a camera, wait until its last frames are settled, and return its last status, if it answered.

        Raises:
            CameraUnknown: there is no camera of that id.
            ChangeNotKept: the change could not be written, so it was not made.
        """
        await self._shielded(self._remove(camera_id))
        return await self._reconciler.settled(camera_id)

    async def configure(self, configured: ConfiguredCameras) -> None:
        """Set the configured cameras; an override of a camera whose configuration has changed is dropped."""
        await self._shielded(self._configure(configured))

    async def close(self) -> None:
        """Stop every camera, and release the store."""
        await self._reconciler.close()
        self._store.close()

    async def _shielded(self, change: Coroutine[Any, Any, T]) -> T:
        """Complete a change though its caller may be cancelled: what is stored and what runs must agree."""
        task = asyncio.get_running_loop().create_task(change)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _add(self, camera: CameraSettings) -> None:
        async with self._lock:
            await self._acquire()
            if self._find(camera.id) is not None:
                raise CameraExists(f"there is a camera {camera.id!r} already")
            await self._apply(self._overrides.with_camera(camera, self._configured))
            logger.info("camera %s: added at run time", camera.id, extra={"camera_id": camera.id})

    async def _replace(self, camera: CameraSettings) -> None:
        async with self._lock:
            await self._acquire()
            current = self._require(camera.id).settings
            complete = camera.model_copy(update={"url": camera.url.with_secrets_of(current.url)})
            if complete != current:
                await self._apply(self._overrides.with_camera(complete, self._configured))
                logger.info("camera %s: changed at run time", camera.id, extra={"camera_id": camera.id})

    async def _remove(self, camera_id: str) -> None:
        async with self._lock:
            await self._acquire()
            self._require(camera_id)
            await self._apply(self._overrides.without_camera(camera_id, self._configured))
            logger.info("camera %s: removed at run time", camera_id, extra={"camera_id": camera_id})

    async def _configure(self, configured: ConfiguredCameras) -> None:
        async with self._lock:
            if configured != self._configured:
                self._configured = configured
                await self._retain(self._overrides)
                self._reconcile()

    async def _acquire(self) -> None:
        """Acquire the store and load its overrides, where that is not done yet."""
        if self._acquired:
            return
        if not await asyncio.to_thread(self._store.acquire):
            folder = str(self._store.path.parent)
            raise ChangeNotKept(f"another running system uses {folder!r}; give each its own SIGHTLINE_STATE_DIR")
        overrides = await asyncio.to_thread(self._store.load)
        self._acquired = True
        await self._retain(overrides)
        self._reconcile()

    async def _retain(self, overrides: Overrides) -> None:
        """Keep the overrides that are still in force."""
        self._overrides = overrides.in_force(self._configured)
        for camera_id in overrides.by_id.keys() - self._overrides.by_id.keys():
            logger.info(
                "camera %s: its change at run time is dropped, as its configuration has changed",
                camera_id,
                extra={"camera_id": camera_id},
            )
        if self._acquired and self._overrides != overrides:
            try:
                await asyncio.to_thread(self._store.save, self._overrides)
            except ChangeNotKept as error:
                logger.warning("cameras: %s", error)  # what stays in the file is dropped at the next start as well

    async def _apply(self, overrides: Overrides) -> None:
        await asyncio.to_thread(self._store.save, overrides)
        self._overrides = overrides
        self._reconcile()

    def _reconcile(self) -> None:
        """Compute the desired cameras and hand them to the reconciler."""
        self._desired = self._overrides.applied_to(self._configured)
        self._reconciler.set_desired(self.resolved(camera) for camera in self._desired)

    def _find(self, camera_id: str) -> DesiredCamera | None:
        return next((camera for camera in self._desired if camera.settings.id == camera_id), None)

    def _require(self, camera_id: str) -> DesiredCamera:
        found = self._find(camera_id)
        if found is None:
            raise CameraUnknown(f"there is no camera {camera_id[:64]!r}")
        return found
