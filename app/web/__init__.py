"""The HTTP face of Sightline."""

from app.web.api import build_api
from app.web.changing import CameraChanges
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
from app.web.routes import Readings

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
