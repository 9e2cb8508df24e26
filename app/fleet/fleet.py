"""Fleet: every way to change the cameras, all ending in the same reconciliation."""

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
OWNING_PAUSE_S = 0.2
"""How often the folder of the kept changes is asked for while a predecessor still has it."""


class Fleet:
    """The cameras that are wanted: those configured, with the changes made at run time laid over them.

    A change made at run time is on the disk before anything comes of it. For one event loop.
    """

    def __init__(self, configured: ConfiguredCameras, kept: OverrideStore, roster: Reconciler[K], fps: float) -> None:
        """Take the configured cameras; ``fps`` are the frames per second of a camera that says none."""
        self._configured = configured
        self._kept = kept
        self._roster = roster
        self._fps = fps
        self._changes = Overrides()
        self._owned = False
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._reconcile()

    @property
    def wanted(self) -> Sequence[DesiredCamera]:
        """Every camera there should be."""
        return self._wanted

    def resolved(self, camera: DesiredCamera) -> CameraSettings:
        """Return a camera as it is to run."""
        return camera.settings.with_fps(self._fps)

    async def open(self, patience_s: float) -> None:
        """Take up the changes of the last run; whatever bars that is logged, and the configured cameras are taken.

        Args:
            patience_s: how long a predecessor, which is being shut down, may still have them.
        """
        end = time.monotonic() + patience_s
        try:
            while not await asyncio.to_thread(self._kept.own) and time.monotonic() < end:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(OWNING_PAUSE_S)
            async with self._turn:
                await self._own()
        except ChangeNotKept as error:
            logger.error("cameras: changes made at run time are not taken up: %s", error)

    async def add(self, camera: CameraSettings) -> None:
        """Add a camera.

        Raises:
            CameraExists: there is one of that id.
            SettingsError: a secret stands redacted in its URL.
            ChangeNotKept: the change could not be kept, so it was not made.
        """
        camera.url.refuse_redacted()
        await self._through(self._add(camera))
        await self._roster.settled(camera.id)

    async def replace(self, camera: CameraSettings) -> None:
        """Change a camera, and wait until its last frames as it was are settled.

        A URL given as it is shown, without its secret, keeps that secret.

        Raises:
            CameraUnknown: there is none of that id.
            SettingsError: a secret stands redacted in its URL, and it is not the one that is shown.
            ChangeNotKept: the change could not be kept, so it was not made.
        """
        await self._through(self._replace(camera))
        await self._roster.settled(camera.id)

    async def remove(self, camera_id: str) -> CameraStatus | None:
        """Remove a camera and wait until its last frames are settled; give its last word, if it had one.

        Raises:
            CameraUnknown: there is none of that id.
            ChangeNotKept: the change could not be kept, so it was not made.
        """
        await self._through(self._remove(camera_id))
        return await self._roster.settled(camera_id)

    async def configure(self, configured: ConfiguredCameras) -> None:
        """Take what the configuration says now; of what it says something new about a camera, that holds."""
        await self._through(self._configure(configured))

    async def close(self) -> None:
        """End every camera."""
        await self._roster.close()
        self._kept.close()

    async def _through(self, change: Coroutine[Any, Any, T]) -> T:
        """Carry a change through, though who asked for it may leave: what is kept and what runs must agree."""
        task = asyncio.get_running_loop().create_task(change)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _add(self, camera: CameraSettings) -> None:
        async with self._turn:
            await self._own()
            if self._find(camera.id) is not None:
                raise CameraExists(f"there is a camera {camera.id!r} already")
            await self._make(self._changes.having(camera, self._configured))
            logger.info("camera %s: added at run time", camera.id, extra={"camera_id": camera.id})

    async def _replace(self, camera: CameraSettings) -> None:
        async with self._turn:
            await self._own()
            current = self._require(camera.id).settings
            whole = camera.model_copy(update={"url": camera.url.with_secrets_of(current.url)})
            if whole != current:
                await self._make(self._changes.having(whole, self._configured))
                logger.info("camera %s: changed at run time", camera.id, extra={"camera_id": camera.id})

    async def _remove(self, camera_id: str) -> None:
        async with self._turn:
            await self._own()
            self._require(camera_id)
            await self._make(self._changes.lacking(camera_id, self._configured))
            logger.info("camera %s: removed at run time", camera_id, extra={"camera_id": camera_id})

    async def _configure(self, configured: ConfiguredCameras) -> None:
        async with self._turn:
            if configured != self._configured:
                self._configured = configured
                await self._heed(self._changes)
                self._reconcile()

    async def _own(self) -> None:
        """Take the kept changes, where that is not done yet."""
        if self._owned:
            return
        if not await asyncio.to_thread(self._kept.own):
            folder = str(self._kept.path.parent)
            raise ChangeNotKept(f"another running system has {folder!r}; give each its own by SIGHTLINE_STATE_DIR")
        changes = await asyncio.to_thread(self._kept.load)
        self._owned = True
        await self._heed(changes)
        self._reconcile()

    async def _heed(self, changes: Overrides) -> None:
        """Hold on to the changes that are still in force."""
        self._changes = changes.in_force(self._configured)
        for camera_id in changes.by_id.keys() - self._changes.by_id.keys():
            about = {"camera_id": camera_id}
            logger.info(
                "camera %s: what was said of it at run time is over, by the configuration", camera_id, extra=about
            )
        if self._owned and self._changes != changes:
            try:
                await asyncio.to_thread(self._kept.save, self._changes)
            except ChangeNotKept as error:
                logger.warning("cameras: %s", error)  # what is over stays written, and is over at the next start too

    async def _make(self, changes: Overrides) -> None:
        await asyncio.to_thread(self._kept.save, changes)
        self._changes = changes
        self._reconcile()

    def _reconcile(self) -> None:
        """Make what runs what is wanted: the one way to it."""
        self._wanted = self._changes.over(self._configured)
        self._roster.want(self.resolved(camera) for camera in self._wanted)

    def _find(self, camera_id: str) -> DesiredCamera | None:
        return next((camera for camera in self._wanted if camera.settings.id == camera_id), None)

    def _require(self, camera_id: str) -> DesiredCamera:
        found = self._find(camera_id)
        if found is None:
            raise CameraUnknown(f"there is no camera {camera_id[:64]!r}")
        return found
