"""Web: the HTTP API, the live page, and the client that the commands use."""

from app.web.anomaly_routes import Incidents
from app.web.api import build_api
from app.web.facts import (
    BrokerFacts,
    CameraFacts,
    DeploymentFacts,
    Health,
    LoadFacts,
    SystemFacts,
)
from app.web.read_routes import Readings
from app.web.write_routes import CameraChanges

__all__ = [
    "BrokerFacts",
    "CameraChanges",
    "CameraFacts",
    "DeploymentFacts",
    "Health",
    "Incidents",
    "LoadFacts",
    "Readings",
    "SystemFacts",
    "build_api",
]
