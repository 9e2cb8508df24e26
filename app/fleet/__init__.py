"""Fleet: which cameras there should be, and their supervision until exactly those run."""

from app.fleet.cameras_file import CamerasFileWatcher
from app.fleet.fleet import Fleet
from app.fleet.liveness import LivenessProbe
from app.fleet.override_store import OverrideStore, describe_overrides
from app.fleet.overrides import DesiredCamera, Origin, Override, Overrides
from app.fleet.reconciler import CameraHandle, Reconciler
from app.fleet.supervisor import CameraSupervisor

__all__ = [
    "CameraHandle",
    "CameraSupervisor",
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
