"""Which cameras there should be, and how what runs is brought to it."""

from app.fleet.cameras_file import CamerasFileWatcher
from app.fleet.fleet import Fleet
from app.fleet.liveness import LivenessProbe
from app.fleet.override_store import OverrideStore, describe_overrides
from app.fleet.overrides import DesiredCamera, Origin, Override, Overrides
from app.fleet.reconciler import CameraHandle, Reconciler

__all__ = [
    "CameraHandle",
    "CamerasFileWatcher",
    "DesiredCamera",
    "Fleet",
    "LivenessProbe",
    "Origin",
    "Override",
    "OverrideStore",
    "Overrides",
    "Reconciler",
    "describe_overrides",
]
