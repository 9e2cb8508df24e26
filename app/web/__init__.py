"""The HTTP face of Sightline."""

from app.web.api import build_api
from app.web.facts import (
    BrokerFacts,
    CameraFacts,
    CameraNews,
    Cursor,
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
    "CameraNews",
    "Cursor",
    "DeploymentFacts",
    "Health",
    "LoadFacts",
    "Readings",
    "SystemFacts",
    "build_api",
]
