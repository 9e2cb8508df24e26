"""Overrides: what was changed of the cameras at run time, laid over what the configuration says.

The last word on a camera wins. A change made at run time holds, over restarts too, until the configuration says
something else of that camera than it did when the change was made.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.settings.camera_lists import ConfiguredCameras
from app.settings.cameras import CameraSettings


class Origin(str, enum.Enum):
    """Who asked for a camera."""

    CONFIGURED = "configured"
    """The cameras file, ``SIGHTLINE_CAMERAS``, or the Serve configuration."""
    ADDED = "added"
    """Somebody, at run time."""
    CHANGED = "changed"
    """It is configured, and somebody changed it at run time."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class DesiredCamera:
    """One camera there should be."""

    settings: CameraSettings
    """As it was asked for: without frames per second of its own where none were given."""
    origin: Origin


@dataclass(frozen=True)
class Override:
    """What was said of one camera at run time."""

    wanted: CameraSettings | None
    """None: there should be no such camera."""
    over: str | None
    """Fingerprint of what the configuration said of it then; none: nothing."""


@dataclass(frozen=True)
class Overrides:
    """All of them, by camera id."""

    by_id: Mapping[str, Override] = field(default_factory=dict)

    def over(self, configured: ConfiguredCameras) -> tuple[DesiredCamera, ...]:
        """Return the cameras there should be: the configured ones in their order, then those added."""
        known = [self._wanted(camera) for camera in configured.cameras]
        added = [
            DesiredCamera(change.wanted, Origin.ADDED)
            for camera_id, change in self.by_id.items()
            if change.wanted is not None and camera_id not in configured.fingerprints
        ]
        return (*(camera for camera in known if camera is not None), *added)

    def in_force(self, configured: ConfiguredCameras) -> Overrides:
        """Leave out those after which the configuration has spoken."""
        said = configured.fingerprints
        return Overrides(
            {camera_id: change for camera_id, change in self.by_id.items() if said.get(camera_id) == change.over}
        )

    def having(self, camera: CameraSettings, configured: ConfiguredCameras) -> Overrides:
        """Return them with a camera added or changed."""
        if camera in configured.cameras:
            return self._without(camera.id)
        return self._with(camera.id, Override(camera, configured.fingerprints.get(camera.id)))

    def lacking(self, camera_id: str, configured: ConfiguredCameras) -> Overrides:
        """Return them with a camera removed."""
        said = configured.fingerprints.get(camera_id)
        return self._without(camera_id) if said is None else self._with(camera_id, Override(None, said))

    def _wanted(self, camera: CameraSettings) -> DesiredCamera | None:
        change = self.by_id.get(camera.id)
        if change is None:
            return DesiredCamera(camera, Origin.CONFIGURED)
        return None if change.wanted is None else DesiredCamera(change.wanted, Origin.CHANGED)

    def _with(self, camera_id: str, change: Override) -> Overrides:
        return Overrides({**self.by_id, camera_id: change})

    def _without(self, camera_id: str) -> Overrides:
        return Overrides({other: change for other, change in self.by_id.items() if other != camera_id})
