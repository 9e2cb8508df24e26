"""Fleet: which cameras there should be, and every way to change that; all end in the same reconciliation."""

from __future__ import annotations

from collections.abc import Sequence

from app.cameras import CameraStatus
from app.errors import CameraExists, CameraUnknown
from app.fleet.desired_list import DesiredList, EntryKind
from app.fleet.override_store import OverrideStore
from app.fleet.overrides import DesiredCamera
from app.fleet.reconciler import K, Reconciler
from app.settings.camera_lists import ConfiguredCameras
from app.settings.cameras import CameraSettings

CAMERA = EntryKind("camera", "camera_id", CameraUnknown, CameraExists)


class Fleet:
    """The desired cameras: those configured, with the overrides made at run time applied. For one event loop."""

    def __init__(
        self,
        configured: ConfiguredCameras,
        store: OverrideStore[CameraSettings],
        reconciler: Reconciler[K],
        fps: float,
    ) -> None:
        """Set the configured cameras as desired; ``fps`` is the frame rate of a camera without one of its own."""
        self._reconciler = reconciler
        self._fps = fps
        self._list = DesiredList(CAMERA, configured, store, self._reconcile)

    @property
    def desired(self) -> Sequence[DesiredCamera]:
        """Every camera there should be."""
        return self._list.desired

    def resolved(self, camera: DesiredCamera) -> CameraSettings:
        """Return a camera's settings with its frame rate resolved."""
        return camera.settings.with_fps(self._fps)

    async def open(self, patience_s: float) -> None:
        """Load the overrides of the last run; failing that, log it and run what is configured.

        Args:
            patience_s: how long a predecessor that is being shut down may still hold them.
        """
        await self._list.open(patience_s)

    async def add(self, camera: CameraSettings) -> None:
        """Add a camera.

        Raises:
            CameraExists: its id is taken.
            SettingsError: a secret in its URL is redacted.
            ChangeNotKept: the change could not be written, so it was not made.
        """
        camera.url.refuse_redacted()
        await self._list.add(camera)
        await self._reconciler.settled(camera.id)

    async def replace(self, camera: CameraSettings) -> None:
        """Change a camera, and wait until the last frames of the old one are settled.

        A URL in its redacted form keeps the camera's secrets.

        Raises:
            CameraUnknown: there is no camera of that id.
            SettingsError: a secret in its URL is redacted, and the URL is not the redacted form of the camera's own.
            ChangeNotKept: the change could not be written, so it was not made.
        """
        await self._list.replace(
            camera.id, lambda current: camera.model_copy(update={"url": camera.url.with_secrets_of(current.url)})
        )
        await self._reconciler.settled(camera.id)

    async def remove(self, camera_id: str) -> CameraStatus | None:
        """Remove a camera, wait until its last frames are settled, and return its last status, if it answered.

        Raises:
            CameraUnknown: there is no camera of that id.
            ChangeNotKept: the change could not be written, so it was not made.
        """
        await self._list.remove(camera_id)
        return await self._reconciler.settled(camera_id)

    async def configure(self, configured: ConfiguredCameras) -> None:
        """Set the configured cameras; an override of a camera whose configuration has changed is dropped."""
        await self._list.configure(configured)

    async def close(self) -> None:
        """Stop every camera, and release the store."""
        await self._reconciler.close()
        self._list.close()

    def _reconcile(self, desired: Sequence[DesiredCamera]) -> None:
        self._reconciler.set_desired(self.resolved(camera) for camera in desired)
