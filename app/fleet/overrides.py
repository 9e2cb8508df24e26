"""Overrides: the changes of cameras made at run time, applied to the configured cameras.

The latest change of a camera wins. An override holds, across restarts too, until the configuration of its camera
differs from what it was when the override was made.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.settings.camera_lists import ConfiguredCameras
from app.settings.cameras import CameraSettings


class Origin(enum.StrEnum):
    """Where a camera's settings come from."""

    CONFIGURED = "configured"
    """The cameras file, ``SIGHTLINE_CAMERAS``, or the Serve configuration."""
    ADDED = "added"
    """Added at run time."""
    CHANGED = "changed"
    """Configured, and changed at run time."""


@dataclass(frozen=True)
class DesiredCamera:
    """One camera that should run."""

    settings: CameraSettings
    """As configured or requested: without a frame rate where none was given."""
    origin: Origin


@dataclass(frozen=True)
class Override:
    """A change of one camera, made at run time."""

    desired: CameraSettings | None
    """``None``: the camera is removed."""
    fingerprint: str | None
    """Of the camera's configuration when the override was made (``ConfiguredCameras.fingerprints``); ``None``: it was
    not configured."""


@dataclass(frozen=True)
class Overrides:
    """All overrides, by camera id."""

    by_id: Mapping[str, Override] = field(default_factory=dict)

    def applied_to(self, configured: ConfiguredCameras) -> tuple[DesiredCamera, ...]:
        """Return the desired cameras: the configured ones in their order, then those added."""
        configured_ones = [self._desired(camera) for camera in configured.cameras]
        added = [
            DesiredCamera(override.desired, Origin.ADDED)
            for camera_id, override in self.by_id.items()
            if override.desired is not None and camera_id not in configured.fingerprints
        ]
        return (*(camera for camera in configured_ones if camera is not None), *added)

    def in_force(self, configured: ConfiguredCameras) -> Overrides:
        """Return those whose camera's configuration has not changed since."""
        now = configured.fingerprints
        kept = {name: override for name, override in self.by_id.items() if now.get(name) == override.fingerprint}
        return Overrides(kept)

    def with_camera(self, camera: CameraSettings, configured: ConfiguredCameras) -> Overrides:
        """Return them with a camera added or changed."""
        if camera in configured.cameras:
            return self._without(camera.id)
        return self._with(camera.id, Override(camera, configured.fingerprints.get(camera.id)))

    def without_camera(self, camera_id: str, configured: ConfiguredCameras) -> Overrides:
        """Return them with a camera removed."""
        now = configured.fingerprints.get(camera_id)
        return self._without(camera_id) if now is None else self._with(camera_id, Override(None, now))

    def _desired(self, camera: CameraSettings) -> DesiredCamera | None:
        override = self.by_id.get(camera.id)
        if override is None:
            return DesiredCamera(camera, Origin.CONFIGURED)
        return None if override.desired is None else DesiredCamera(override.desired, Origin.CHANGED)

    def _with(self, camera_id: str, override: Override) -> Overrides:
        return Overrides({**self.by_id, camera_id: override})

    def _without(self, camera_id: str) -> Overrides:
        return Overrides({other: override for other, override in self.by_id.items() if other != camera_id})
