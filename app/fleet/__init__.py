"""Fleet: which cameras and rules there should be, and bringing that about."""

from app.fleet.desired_rules import DesiredRule, DesiredRules
from app.fleet.fleet import Fleet
from app.fleet.list_watcher import ListWatcher
from app.fleet.liveness import LivenessProbe
from app.fleet.override_store import OverrideStore, camera_store, describe_overrides, rule_store
from app.fleet.overrides import Desired, DesiredCamera, Origin, Override, Overrides
from app.fleet.reconciler import CameraHandle, Reconciler
from app.fleet.rule_sender import RuleSender
from app.fleet.supervisor import CameraSupervisor

__all__ = [
    "CameraHandle",
    "CameraSupervisor",
    "Desired",
    "DesiredCamera",
    "DesiredRule",
    "DesiredRules",
    "Fleet",
    "ListWatcher",
    "LivenessProbe",
    "Origin",
    "Override",
    "OverrideStore",
    "Overrides",
    "Reconciler",
    "RuleSender",
    "camera_store",
    "describe_overrides",
    "rule_store",
]
