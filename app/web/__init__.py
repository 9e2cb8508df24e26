"""Web: the HTTP API, the live page, and the client that the commands use."""

from app.web.anomaly_routes import Incidents
from app.web.api import build_api
from app.web.facts import (
    BrokerFacts,
    CameraFacts,
    Cursor,
    DeploymentFacts,
    Health,
    LoadFacts,
    NewFrames,
    SystemFacts,
)
from app.web.read_routes import Readings
from app.web.write_routes import CameraChanges

__all__ = [
    "BrokerFacts",
    "CameraChanges",
    "CameraFacts",
    "Cursor",
    "DeploymentFacts",
    "Health",
    "Incidents",
    "LoadFacts",
    "NewFrames",
    "Readings",
    "SystemFacts",
    "build_api",
]
